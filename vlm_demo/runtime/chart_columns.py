"""Chart columns: lines read in an upright chart → each category with the values above it on a line of its own.

Read line by line, the values of bars of different heights stand far from the labels they belong to. Knows words and
their boxes; neither pictures nor an engine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vlm_demo.contracts import OcrWord
from vlm_demo.runtime.ocr_layout import around, parts, upward

NUMBER = re.compile(r"[-+–−]?[$€£¥]?[-–−]?\d[\d.,]*[%*kKmM]?")
YEAR = re.compile(r"(19|20)\d\d\W*")
WORD = re.compile(r"[^\W\d_]{3}")
LEAST_COLUMNS = 3
MOST_WORDS = 80  # of more, it is no chart, but a page
WORDED = 0.34  # of the lines that hold values, so many may hold words: of more, it is a table or a bill
EVEN = (0.55, 1.7)  # of the usual distance of two labels, the least and the most
BESIDE = 0.42  # of that distance, how far a value may stand beside the middle of its label
FILLED = 0.6  # of the columns have values above them
BELOW = 3  # numbers below the labels: of more, they are the head of a table
WIDE = 0.6  # of the width of all that is read, how much the columns take at least
WRAPPED = 1.2  # of a line's height, how far below a label its second line begins at most

Line = list[OcrWord]


@dataclass
class _Column:
    """A label and the values above it, in their order; ``x`` is the middle of the label, in pixels."""

    x: float
    label: Line
    values: Line


def by_columns(lines: Sequence[Line]) -> list[Line]:
    """The lines of a chart whose categories stand side by side below their values; others as they are.

    Words are moved, and neither added nor left out. A line of labels begins with what stood in it before the first
    column, if anything did.
    """
    if sum(map(len, lines)) > MOST_WORDS:
        return [list(line) for line in lines]
    found = [_columns(lines, index) for index in range(len(lines))]
    best = max(range(len(lines)), key=lambda index: sum(bool(column.values) for column in found[index]), default=0)
    if not lines or not found[best]:
        return [list(line) for line in lines]
    return _rearranged(lines, best, found[best])


def _columns(lines: Sequence[Line], index: int) -> list[_Column]:
    """The columns over the labels of this line; none where these are no labels of a chart."""
    labels = [part for part in parts(lines[index]) if _is_readable(part) and not any(map(upward, part))]
    labels.sort(key=lambda part: part[0].box[0])
    middles = [_middle(part) for part in labels]
    distances = [right - left for left, right in zip(middles, middles[1:], strict=False)]
    if len(labels) < LEAST_COLUMNS or not _are_labels(labels):
        return []
    usual = sorted(distances)[len(distances) // 2]
    left, _, right, _ = around([word for line in lines for word in line])
    even = all(EVEN[0] * usual <= distance <= EVEN[1] * usual for distance in distances)
    below = sum(_is_number(word) for line in lines[index + 1 :] for word in line)
    if not even or len(labels) * usual < WIDE * (right - left) or below > BELOW:
        return []
    columns = [_Column(x, label, []) for x, label in zip(middles, labels, strict=True)]
    worded = _filled(columns, lines[:index], around(lines[index])[1], BESIDE * usual)
    filled = sum(bool(column.values) for column in columns)
    years = sum(YEAR.fullmatch(word.text) is not None for column in columns for word in column.values)
    if worded > WORDED or filled < FILLED * len(columns) or years > 1:  # of more years, they are the labels
        return []
    return columns


def _filled(columns: Sequence[_Column], above: Sequence[Line], top: int, most: float) -> float:
    """Put the numbers above the labels, whose line begins at ``top``, into the column that is near enough. Returns the
    share of lines with such numbers that hold words too, 0..1."""
    worded = []
    for line in above:
        values = []
        for word in line:
            nearest = min(columns, key=lambda column: abs(column.x - _middle([word])))
            level = _is_number(word) and not upward(word) and word.box[3] <= top + (word.box[3] - word.box[1]) // 2
            if level and abs(nearest.x - _middle([word])) <= most:
                nearest.values.append(word)
                values.append(word)
        if values:
            worded.append(any(WORD.search(word.text) for word in line))
    return sum(worded) / max(1, len(worded))


def _rearranged(lines: Sequence[Line], index: int, columns: Sequence[_Column]) -> list[Line]:
    moved = {id(word) for column in columns for word in (*column.label, *column.values)}
    after = list(lines[index + 1 :])
    if after and (wrapped := _wrapped(after[0], lines[index], columns)):
        moved |= {id(word) for part in wrapped for word in part}
        for part in wrapped:
            min(columns, key=lambda column: abs(column.x - _middle(part))).label.extend(part)
    before = [[word for word in line if id(word) not in moved] for line in (*lines[: index + 1], *after[:1])]
    head, rest = before[: index + 1], [*before[index + 1 :], *after[1:]]
    rows = [column.label + column.values for column in columns]
    return [line for line in (*head, *rows, *rest) if line]


def _wrapped(line: Line, labels: Line, columns: Sequence[_Column]) -> list[Line]:
    """The parts of the line below the labels, if it goes on with them."""
    (_, top, _, bottom), below = around(labels), around(line)[1]
    distance = (columns[-1].x - columns[0].x) / (len(columns) - 1)
    found = parts(line)
    near = all(min(abs(column.x - _middle(part)) for column in columns) <= BESIDE * distance / 2 for part in found)
    return found if near and below - bottom <= WRAPPED * (bottom - top) and len(found) <= len(columns) else []


def _are_labels(labels: Sequence[Line]) -> bool:
    """Whether most of them are words, or years, as a row of values is not."""
    texts = [" ".join(word.text for word in label) for label in labels]
    worded = sum(any(letter.isalpha() for letter in text) for text in texts)
    years = sum(YEAR.fullmatch(text) is not None for text in texts)
    return 2 * max(worded, years) > len(texts)


def _is_readable(part: Line) -> bool:
    return any(letter.isalnum() for word in part for letter in word.text)


def _is_number(word: OcrWord) -> bool:
    return NUMBER.fullmatch(word.text) is not None


def _middle(words: Line) -> float:
    left, _, right, _ = around(words)
    return (left + right) / 2
