"""Catalog: which models can be had, what each costs in memory, and whether it fits here.

The memory of a model is its parameters as they are stored. A parameter takes 4 bytes in fp32 and 2 in bf16 and fp16; of
the ``quantized`` ones, the weights of the language model's linear layers, each takes 1 byte in 8 bit, and in 4 bit half
a byte and a 64th of a 4-byte scale. What it takes to answer, its cache above all, comes on top: see ``ROOM_TO_WORK``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vlm_demo.models.image_token_rules import ImageTokenRule, rule_of

CATALOG = Path(__file__).with_name("catalog.json")
WIDTHS = {"fp32": 4, "bf16": 2, "fp16": 2}
ROOM_TO_WORK = 1.1  # of a model's own bytes


@dataclass(frozen=True)
class Entry:
    """One model of the catalog.

    Attributes:
        name: as people call it.
        id: what ``--model`` takes: an embedded name or a hub id.
        family: the module in ``adapters`` that runs it.
        parameters: how many.
        quantized: how many of them 8 and 4 bit make smaller; 0 = it has no language model, None = not listed.
        stored: the precision of its checkpoint, in which it is loaded without quantization.
        licence: its name.
        gated: whether the hub gives it only to people who accepted the licence.
        pickled: whether its weights are there in no other format.
        download_bytes: 0 = it is part of this project.
        memory_bytes: precision → bytes; ``bf16``, ``8bit`` and ``4bit``, and ``fp32`` where it is stored so.
        good_at: in a few words.
        context: positions of its language model; 0 = it writes nothing.
        kv_bytes_per_token: of the keys and values that are cached of one image token, in the precision in which it is
            ``stored``.
        image_tokens: how many a picture becomes; None = not known.
        in_context: positions that a picture takes with cross-attention; None = each token takes one.
    """

    name: str
    id: str
    family: str
    parameters: int
    licence: str
    download_bytes: int
    memory_bytes: Mapping[str, int]
    good_at: str
    quantized: int | None = None
    stored: str = "bf16"
    gated: bool = False
    pickled: bool = False
    context: int = 0
    kv_bytes_per_token: int = 0
    image_tokens: ImageTokenRule | None = None
    in_context: int | None = None

    @property
    def on_hub(self) -> bool:
        return "/" in self.id

    def needs(self, quantize: str) -> int | None:
        """Bytes of its weights at ``none``, ``8bit`` or ``4bit``; None where it can't be quantized."""
        if quantize == "none":
            return self.memory_bytes.get(self.stored, self.memory_bytes["bf16"])
        return self.memory_bytes.get(quantize)


@cache
def listed() -> tuple[Entry, ...]:
    """All entries, whether or not the embedded ones are there; see ``loading.catalog`` for those that are."""
    return tuple(_entry(**entry) for entry in json.loads(CATALOG.read_text(encoding="utf-8")))


def _entry(image_tokens: Mapping[str, Any] | None = None, **fields: Any) -> Entry:
    return Entry(**fields, image_tokens=rule_of(image_tokens) if image_tokens else None)


def bytes_of(parameters: int, quantized: int, precision: str, stored: str = "bf16") -> int:
    """What so many parameters take, ``quantized`` of them packed where ``precision`` is 8bit or 4bit and the others as
    they are ``stored``; see above."""
    if precision in WIDTHS:
        return WIDTHS[precision] * parameters
    packed = {"8bit": quantized, "4bit": quantized // 2 + quantized // 16}[precision]
    return WIDTHS[stored] * (parameters - quantized) + packed


def fits(needed: int, room: int) -> bool:
    """Whether a model of ``needed`` bytes can be loaded and can work in ``room`` bytes."""
    return needed * ROOM_TO_WORK <= room
