"""Cached features: outputs of a frozen tower for pictures or texts, computed once and kept in a file.

Stages that train only the modules after the tower see every picture dozens of times, and the tower would be most of
their work.
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

ENCODER_BATCH = 16  # pictures
SAVE_EVERY = 50  # chunks, after which the number of finished rows is written


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


def captioned(mixture: Mixture, limit: int, seed: int = 0) -> list[Captioned]:
    """At most ``limit`` photographs with captions, drawn from all folders of the mixture alike."""
    found = [
        Captioned(folder.path / item["image"], item)
        for folder in mixture.folders.values()
        if folder.turns is not None  # drawn pictures have none
        for item in folder.items
        if item.get("captions")
    ]
    order = np.random.default_rng(seed).permutation(len(found))[:limit]
    return [found[i] for i in order]


def cached_rows(
    file: Path,
    sources: Sequence[str],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    compute_rows: Callable[[int, int], Tensor],
    chunk: int,
) -> Tensor:
    """Rows in a memory-mapped file, computed chunk by chunk; goes on where it stopped.

    Args:
        file: holds the rows and nothing else; a JSON file next to it says how many are done.
        sources: lines that identify these rows; where the file holds others, all are recomputed.
        shape: of all rows.
        compute_rows: (start, end) → these rows, which are rounded to ``dtype``.
        chunk: rows that are computed at once.
    """
    progress_file, lines = file.with_suffix(".json"), [f"{shape} {dtype}", *sources]
    key = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    progress = (
        json.loads(progress_file.read_text(encoding="utf-8")) if progress_file.is_file() and file.is_file() else {}
    )
    done = progress["done"] if progress.get("key") == key else 0
    size = math.prod(shape)
    if not done:
        file.parent.mkdir(parents=True, exist_ok=True)
        progress_file.unlink(missing_ok=True)
        with file.open("wb") as handle:
            handle.truncate(dtype.itemsize * size)
    rows = torch.from_file(str(file), shared=True, size=size, dtype=dtype).view(shape)
    for start in range(done, len(rows), chunk):
        end = min(start + chunk, len(rows))
        rows[start:end] = compute_rows(start, end)
        if end == len(rows) or start // chunk % SAVE_EVERY == SAVE_EVERY - 1:
            progress_file.write_text(json.dumps({"key": key, "done": end}), encoding="utf-8")
    return rows


def cached_features(
    file: Path, pictures: Sequence[Captioned], side: int, encode: Callable[[Sequence[np.ndarray]], Tensor]
) -> Tensor:
    """Features bf16 [pictures, positions, channels], see ``cached_rows``; positions × channels × 2 bytes a picture
    (285 KB).

    Args:
        side: pixels of the square that each picture is padded and resized to.
        encode: uint8 pictures [side, side, 3] → features [B, positions, channels].
    """
    rng = np.random.default_rng(0)

    def compute_rows(start: int, end: int) -> Tensor:
        return encode([load_pixels(picture.path, side, False, 1.0, rng) for picture in pictures[start:end]])

    shape = (len(pictures), *compute_rows(0, 1).shape[1:])
    sources = [f"{side}", *(str(picture.path) for picture in pictures)]
    return cached_rows(file, sources, shape, torch.bfloat16, compute_rows, ENCODER_BATCH)
