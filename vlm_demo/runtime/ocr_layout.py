"""OCR layout: the words of a reading by where they stand: lines, the parts of a line, labels that run upwards.

Knows boxes and texts of words; neither pictures nor Tesseract.
"""

from __future__ import annotations

from collections.abc import Sequence

from vlm_demo.contracts import OcrResult, OcrWord

GAP = 0.7  # of the height of a line's letters: a wider space, or step back, begins a new part of it
DRAWN = set("©®°@¢§|()[]{}<>«»~^_=*•·")  # what OCR takes icons, boxes and lines for, if nothing else is in the word
RINGS = ("O", "Q")  # and radio buttons and magnifying glasses
SURE = 85.0  # confidence from which a word is hardly ever wrong
LIKELY = 55.0  # and from which one that runs upwards is taken in a row of such labels
WIDE = 1.4  # of its thickness a label that runs sideways is long for each of its letters, at most
SIDE_BY_SIDE = 0.5  # of the shorter of two labels that run upwards is level with the other

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
    """Whether the second word goes on where the first one ends; of a label that runs sideways it stands above or below
    it. An icon goes on with nothing but icons."""
    gap = max(one.box[1], other.box[1]) - min(one.box[3], other.box[3])
    if gap > widest or _icon(one) != _icon(other):
        return False
    if upward(one) or upward(other):
        return 2 * abs(one.box[0] - other.box[0]) < other.box[2] - other.box[0]
    return abs(other.box[0] - one.box[2]) <= widest


def upward(word: OcrWord) -> bool:
    """Whether a word runs upwards or downwards; a single letter counts as neither."""
    x0, y0, x1, y1 = word.box
    return len(word.text) > 1 and y1 - y0 > 1.5 * (x1 - x0)


def _thickness(word: OcrWord) -> int:
    """The height of its letters, which is the width of a word that runs upwards."""
    x0, y0, x1, y1 = word.box
    return x1 - x0 if upward(word) else y1 - y0


def in_rows(labels: Sequence[list[OcrWord]]) -> list[list[OcrWord]]:
    """Labels that run upwards as lines: those side by side are one, from the left."""
    rows: list[list[list[OcrWord]]] = []
    for label in sorted(labels, key=lambda label: around(label)[1]):
        top, bottom = around(label)[1::2]
        for row in rows:
            first, last = around([word for part in row for word in part])[1::2]
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


def with_sideways(
    level: Sequence[Line], upward: Sequence[list[OcrWord]], downward: Sequence[list[OcrWord]] = ()
) -> list[list[OcrWord]]:
    """Level lines, and behind them the words that run upwards or downwards, such as a chart's axis has.

    Args:
        level: the lines of the picture.
        upward, downward: the parts of the lines that were read in the picture turned by a quarter, either way, with
            boxes in the picture as it is. Those are taken that neither stand where level words do nor are likely to be
            letters seen in shapes. Labels run upwards more often: downwards only sure ones are taken, and where the
            same letters were read both ways, the way that reads more of them.
    """
    firm = [word for line in level for word in line if word.confidence >= SURE or len(word.text) > 3]
    down = [label for label in _plausible_labels(downward, level, firm) if _sure(label)]
    up = _plausible_labels(upward, level, firm)
    up = [label for label in up if _sure(label) or sum(_lined_up(label, other) for other in up) > 2]
    down = [label for label in down if not any(_outweighs(other, label) for other in up)]
    kept = [label for label in up if not any(_outweighs(other, label) for other in down)] + down
    left = [
        [word for word in line if not _hidden([word], _overriding_words(word, kept, word in firm))] for line in level
    ]
    return [line for line in left if line] + in_rows(kept)


def _plausible_labels(
    labels: Sequence[list[OcrWord]], level: Sequence[Line], firm: Sequence[OcrWord]
) -> list[list[OcrWord]]:
    """The labels that may be some, and do not stand where level words do."""
    return [
        label
        for label in labels
        if all(_plausible(word) and _dense(word) for word in label)
        and not _hidden(label, firm)
        and (_sure(label) or not any(_within(label, line) for line in level if _firm(line)))
    ]


def _firm(line: Line) -> bool:
    """Whether it holds a word that is hardly a letter seen in a shape."""
    return any(word.confidence >= SURE and len(word.text) > 1 for word in line)


def _outweighs(label: list[OcrWord], other: list[OcrWord]) -> bool:
    """Whether more is read in ``label``, and more surely, of letters that the other one reads too."""
    weight, less = (sum(len(word.text) * word.confidence for word in side) for side in (label, other))
    return weight >= less and _hidden(other, label)


def with_missing(found: Sequence[Line], others: Sequence[Line]) -> list[list[OcrWord]]:
    """Lines from top to bottom, and among them those sure ones of another reading that stand where these have none."""
    lines = [list(line) for line in found]
    existing = [word for line in found for word in line]
    for line in others:
        if _sure(list(line)) and not _hidden(list(line), existing):
            top, bottom = around(line)[1::2]
            after = [i for i, line in enumerate(lines) if sum(around(line)[1::2]) > top + bottom]
            lines.insert(after[0] if after else len(lines), list(line))
    return lines


def _within(label: list[OcrWord], line: Line) -> bool:
    """Whether a label stands in a level line and is no taller: it is a piece of it, read from the side."""
    (_, top, _, bottom), (_, first, _, last) = around(label), around(line)
    inside = min(bottom, last) - max(top, first)
    return inside > 0.8 * (bottom - top) and bottom - top < 1.3 * (last - first)


def _overriding_words(word: OcrWord, labels: list[list[OcrWord]], sure: bool) -> list[OcrWord]:
    """The words of labels that a level one must give way to: all if it is not ``sure``, or else longer ones."""
    return [part for label in labels for part in label if not sure or len(part.text) > len(word.text)]


def _plausible(word: OcrWord) -> bool:
    return word.confidence >= LIKELY and any(letter.isalnum() for letter in word.text)


def _dense(word: OcrWord) -> bool:
    """Whether its letters stand side by side, as those of one word do; a column of a table read from the side looks
    like a word of letters that stand far apart."""
    x0, y0, x1, y1 = word.box
    return y1 - y0 <= WIDE * len(word.text) * (x1 - x0)


def _sure(label: list[OcrWord]) -> bool:
    return min(word.confidence for word in label) >= SURE and sum(len(word.text) for word in label) > 2


def _lined_up(label: list[OcrWord], other: list[OcrWord]) -> bool:
    """Whether the labels begin or end at the same height, as those of an axis do (or are the same)."""
    (x0, top, x1, bottom), (_, other_top, _, other_bottom) = around(label), around(other)
    return min(abs(top - other_top), abs(bottom - other_bottom)) <= 0.35 * (x1 - x0)


def _hidden(words: list[OcrWord], others: Sequence[OcrWord]) -> bool:
    """Whether a good part of the words lies on one of the others, or on all those of several letters together: single
    ones are read in other letters, too."""
    x0, y0, x1, y1 = around(words)
    most, covered = 0.3 * (x1 - x0) * (y1 - y0), 0
    for other in others:
        across = min(x1, other.box[2]) - max(x0, other.box[0])
        down = min(y1, other.box[3]) - max(y0, other.box[1])
        shared = max(0, across) * max(0, down)
        covered += shared if len(other.text) > 1 else 0
        if max(shared, covered) > most:
            return True
    return False
