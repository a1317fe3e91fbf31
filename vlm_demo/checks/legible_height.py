"""Legible height: from which height on a model reads words in its own pixels, as it was measured, in its checkpoint."""

from __future__ import annotations

import math
from pathlib import Path

from vlm_demo.contracts.checkpoint_settings import read_part, write_part

PART = "legibility"


def read_legibility(folder: Path) -> float | None:
    """The lowest words that the model reads, in pixels of what it sees; inf = it reads none, None = not measured.

    Raises:
        UnsupportedModel: the file is there and cannot be understood.
    """
    return read_part(folder, PART, lambda part: math.inf if part["reads_from"] is None else float(part["reads_from"]))


def write_legibility(folder: Path, reads_from: float, words: int) -> Path:
    """Put it into the checkpoint's ``vlm_demo.json``, with the number of words that it was measured on; what else that
    holds stays. Returns the file."""
    return write_part(folder, PART, {"reads_from": None if math.isinf(reads_from) else reads_from, "words": words})
