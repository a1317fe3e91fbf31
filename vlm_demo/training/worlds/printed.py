"""Printed: what stands written in a drawn picture, word by word, each with its box."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_demo.contracts import OcrWord

Box = tuple[float, float, float, float]


def spelled(text: str, box: Sequence[float]) -> list[OcrWord]:
    """The words of a printed text, each with its share of the text's ``box`` (x0, y0, x1, y1) by its letters."""
    x0, y0, x1, y1 = box
    letter = (x1 - x0) / max(len(text), 1)
    words, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        left, at = x0 + at * letter, at + len(word)
        words.append(OcrWord(word, (round(left), round(y0), round(x0 + at * letter), round(y1)), 100.0))
    return words


def upwards(text: str, box: Sequence[float]) -> list[OcrWord]:
    """The same for a text that runs from the bottom of its box to the top."""
    x0, y0, x1, y1 = box
    turned = spelled(text, (0, x0, y1 - y0, x1))
    return [
        OcrWord(
            word.text, (word.box[1], round(y1 - word.box[2]), word.box[3], round(y1 - word.box[0])), word.confidence
        )
        for word in turned
    ]


def texts(lines: Sequence[Sequence[OcrWord]]) -> list[str]:
    """The lines as text."""
    return [" ".join(word.text for word in line) for line in lines]
