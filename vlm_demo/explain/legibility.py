"""Legibility: from which height on a model reads words in its own pixels, as it was measured, in its checkpoint."""

from __future__ import annotations

import json
import math
from pathlib import Path

from vlm_demo.errors import UnsupportedModel
from vlm_demo.explain.heatmap import SETTINGS_FILE

PART = "legibility"


def read_legibility(folder: Path) -> float | None:
    """The lowest words that the model reads, in pixels of what it sees; inf = it reads none, None = not measured.

    Raises:
        UnsupportedModel: the file is there and cannot be understood.
    """
    file = folder / SETTINGS_FILE
    if not file.is_file():
        return None
    try:
        told = json.loads(file.read_text(encoding="utf-8")).get(PART)
        if told is None:
            return None
        return math.inf if told["reads_from"] is None else float(told["reads_from"])
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise UnsupportedModel(f"The {PART} in {file.name} of this checkpoint cannot be read: mend it.") from error


def write_legibility(folder: Path, reads_from: float, words: int) -> Path:
    """Put it into the checkpoint's ``vlm_demo.json``, with the number of words that it was measured on; what else that
    holds stays. Returns the file."""
    file = folder / SETTINGS_FILE
    held = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    told = {"reads_from": None if math.isinf(reads_from) else reads_from, "words": words}
    file.write_text(json.dumps(held | {PART: told}, indent=1) + "\n", encoding="utf-8")
    return file
