"""Cached features: what a frozen tower says of pictures or texts, computed once and kept in a file.

Stages that train what lies behind it alone see every picture dozens of times, and the tower would be most of their
work.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_demo.training.mixture import Mixture, load_pixels

AT_ONCE = 16  # pictures
NOTED = 50  # so many pieces are computed before it is noted that they are there


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


def kept(
    file: Path,
    made_of: Sequence[str],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    rows_of: Callable[[int, int], Tensor],
    piece: int,
) -> Tensor:
    """Rows in a memory-mapped file, computed piece by piece; goes on where it stopped.

    Args:
        file: holds the rows and nothing else; beside it lies a note of how many are there.
        made_of: lines that tell these rows from others; where the file holds others, all are computed anew.
        shape: of all rows.
        rows_of: (start, end) → these rows, which are rounded to ``dtype``.
        piece: rows that are computed at once.
    """
    listing, lines = file.with_suffix(".json"), [f"{shape} {dtype}", *made_of]
    key = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    stored = json.loads(listing.read_text(encoding="utf-8")) if listing.is_file() and file.is_file() else {}
    done = stored["done"] if stored.get("key") == key else 0
    size = math.prod(shape)
    if not done:
        file.parent.mkdir(parents=True, exist_ok=True)
        listing.unlink(missing_ok=True)
        with file.open("wb") as handle:
            handle.truncate(dtype.itemsize * size)
    rows = torch.from_file(str(file), shared=True, size=size, dtype=dtype).view(shape)
    for start in range(done, len(rows), piece):
        end = min(start + piece, len(rows))
        rows[start:end] = rows_of(start, end)
        if end == len(rows) or start // piece % NOTED == NOTED - 1:
            listing.write_text(json.dumps({"key": key, "done": end}), encoding="utf-8")
    return rows


def cached(
    file: Path, pictures: Sequence[Captioned], side: int, encode: Callable[[Sequence[np.ndarray]], Tensor]
) -> Tensor:
    """Features bf16 [pictures, positions, channels], see ``kept``: positions × channels × 2 bytes a picture (285 KB).

    Args:
        side: pixels of the square that each picture is padded and resized to.
        encode: uint8 pictures [side, side, 3] → features [B, positions, channels].
    """
    rng = np.random.default_rng(0)

    def rows_of(start: int, end: int) -> Tensor:
        return encode([load_pixels(picture.path, side, False, 1.0, rng) for picture in pictures[start:end]])

    shape = (len(pictures), *rows_of(0, 1).shape[1:])
    made_of = [f"{side}", *(str(picture.path) for picture in pictures)]
    return kept(file, made_of, shape, torch.bfloat16, rows_of, AT_ONCE)
