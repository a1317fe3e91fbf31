"""OCR layout: the words of a reading by where they stand: lines, the parts of a line, labels that run upwards.

Knows boxes and texts of words; neither pictures nor Tesseract.
"""

from __future__ import annotations

from collections.abc import Sequence

from vlm_demo.contracts import OcrResult, OcrWord

GAP = 0.7  # of the height of a line's letters: a wider space, or step back, begins a new part of it
DRAWN = set("©®°@¢§|()[]{}<>«»~^_=*•·")  # what OCR takes icons, boxes and lines for, if nothing else is in the word
RINGS = ("O", "Q")  # and radio buttons and magnifying glasses
SIDE_BY_SIDE = 0.5  # of the shorter of two labels that run upwards stands beside the other

Line = Sequence[OcrWord]


def lines(result: OcrResult) -> list[list[OcrWord]]:
    """The words of a reading, line by line."""
    words = iter(result.words)
    return [[next(words) for _ in line.split()] for line in result.text.split("\n")]


def parts(line: Line) -> list[list[OcrWord]]:
    """A line cut where its words stand wide apart: columns, cells, the labels of an axis; and around what was an icon
    and no word, so that a button's or a radio button's label is a part."""
    found: list[list[OcrWord]] = []
    widest = GAP * max((_thickness(word) for word in line), default=0)
    for word in line:
        if not found or not _together(found[-1][-1], word, widest):
            found.append([])
        found[-1].append(word)
    return found


def _icon(word: OcrWord) -> bool:
    return word.text in RINGS or set(word.text) <= DRAWN


def _together(one: OcrWord, other: OcrWord, widest: float) -> bool:
    """Whether the second word goes on where the first one ends; of a label that runs upwards it stands above it. An
    icon goes on with nothing but icons."""
    if _icon(one) != _icon(other):
        return False
    if _upward(one) or _upward(other):
        return 2 * abs(one.box[0] - other.box[0]) < other.box[2] - other.box[0]
    return abs(other.box[0] - one.box[2]) <= widest


def _upward(word: OcrWord) -> bool:
    x0, y0, x1, y1 = word.box
    return len(word.text) > 1 and y1 - y0 > 1.5 * (x1 - x0)


def _thickness(word: OcrWord) -> int:
    """The height of its letters, which is the width of a word that runs upwards."""
    x0, y0, x1, y1 = word.box
    return x1 - x0 if _upward(word) else y1 - y0


def in_rows(labels: Sequence[list[OcrWord]]) -> list[list[OcrWord]]:
    """Labels that run upwards as lines: those side by side are one, from the left."""
    rows: list[list[list[OcrWord]]] = []
    for label in sorted(labels, key=lambda label: around(label)[1]):
        top, bottom = around(label)[1::2]
        for row in rows:
            first, last = around([word for own in row for word in own])[1::2]
            if min(bottom, last) - max(top, first) > SIDE_BY_SIDE * min(bottom - top, last - first):
                row.append(label)
                break
        else:
            rows.append([label])
    return [[word for label in sorted(row, key=lambda label: label[0].box[0]) for word in label] for row in rows]


def around(words: Line) -> tuple[int, int, int, int]:
    """The box around words."""
    left, top, right, bottom = zip(*(word.box for word in words), strict=True)
    return min(left), min(top), max(right), max(bottom)
