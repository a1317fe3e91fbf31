"""Reading: printed lines as OCR would read them, mistakes included."""

from __future__ import annotations

import numpy as np

_CONFUSED = {
    "0": "O",
    "O": "0",
    "1": "l",
    "l": "1",
    "I": "l",
    "5": "S",
    "S": "5",
    "8": "B",
    "B": "8",
    ".": ",",
    ",": ".",
}


def imitate_ocr(texts: list[str], rng: np.random.Generator) -> list[str]:
    """The printed lines as Tesseract might read them: now and then a wrong letter, a lost line, a blank line."""
    care = rng.random()
    wrong = 0.0 if care < 0.5 else 0.004 if care < 0.8 else 0.015
    lines = []
    for text in texts:
        if wrong and rng.random() < wrong * 4:
            continue
        letters = [
            (_CONFUSED.get(c, c) if rng.random() < 0.7 else "") if rng.random() < wrong and c != " " else c
            for c in text
        ]
        lines.append("".join(letters))
        if rng.random() < 0.12:
            lines.append("")
    return lines
