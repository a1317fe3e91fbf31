"""Cached features: what the frozen vision tower sees in captioned photographs, computed once and kept in a file.

Stages that train the bridge alone see every picture dozens of times, and the tower would be most of their work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_demo.training.mixture import Mixture, load_pixels

AT_ONCE = 16  # pictures
Seeing = Callable[[Sequence[np.ndarray]], Tensor]


@dataclass(frozen=True)
class Captioned:
    """One captioned photograph.

    Attributes:
        path: its file.
        item: its line of ``annotations.jsonl``.
    """

    path: Path
    item: Mapping[str, Any]

    @property
    def captions(self) -> list[str]:
        return list(self.item["captions"])


def captioned(mixture: Mixture, most: int, seed: int = 0) -> list[Captioned]:
    """At most so many photographs with captions, drawn from all folders of the mixture alike."""
    found = [
        Captioned(folder.path / item["image"], item)
        for folder in mixture.folders.values()
        if folder.turns is not None  # drawn pictures have none
        for item in folder.items
        if item.get("captions")
    ]
    order = np.random.default_rng(seed).permutation(len(found))[:most]
    return [found[i] for i in order]


def cached(file: Path, pictures: Sequence[Captioned], side: int, seeing: Seeing) -> Tensor:
    """Features bf16 [pictures, positions, channels] in a memory-mapped file, computed if it holds those of others.

    Args:
        file: takes positions × channels × 2 bytes a picture (285 KB); the list of its pictures lies beside it.
        side: pixels of the square that each picture is padded and resized to.
        seeing: uint8 pictures [side, side, 3] → features [B, positions, channels].
    """
    index = file.with_suffix(".json")
    rng = np.random.default_rng(0)

    def seen(some: Sequence[Captioned]) -> Tensor:
        return seeing([load_pixels(own.path, side, False, 1.0, rng) for own in some]).bfloat16()

    shape = (len(pictures), *seen(pictures[:1]).shape[1:])
    told = {"shape": list(shape), "side": side, "pictures": [str(own.path) for own in pictures]}
    size = int(np.prod(shape))
    known = file.is_file() and index.is_file() and json.loads(index.read_text(encoding="utf-8")) == told
    if not known:
        file.parent.mkdir(parents=True, exist_ok=True)
        index.unlink(missing_ok=True)
        with file.open("wb") as handle:
            handle.truncate(2 * size)
    features = torch.from_file(str(file), shared=True, size=size, dtype=torch.bfloat16).view(shape)
    if not known:
        for start in range(0, len(pictures), AT_ONCE):
            features[start : start + AT_ONCE] = seen(pictures[start : start + AT_ONCE])
        index.write_text(json.dumps(told), encoding="utf-8")
    return features
