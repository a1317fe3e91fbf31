"""Reading: printed lines → the same as OCR reads them, with imitated mistakes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from vlm_demo.contracts import OcrWord
from vlm_demo.training.worlds.browser import Box

# What Tesseract takes a letter for, the likelier ones more often.
_CONFUSED = {
    "0": "O689Oo", "1": "lI7i|", "2": "Z7z", "3": "8S5", "4": "A1", "5": "S6$9", "6": "8b5G", "7": "1T/", "8": "B6309",
    "9": "0g4", "O": "0QD", "o": "0ec", "I": "l1|", "l": "I1|", "i": "l1j", "S": "5$s", "s": "S5", "B": "8R", "D": "O0",
    "E": "FL", "F": "EP", "G": "6C", "Z": "2", "T": "7Il", "c": "ceo", "e": "coa", "n": "hu", "h": "bn", "u": "vn",
    "m": "nrn", "r": "nt", "t": "tf", "f": "t", "a": "oe", "g": "9q", "y": "v", "v": "y", "w": "W", "A": "4", "K": "X",
    "M": "HN", "N": "HM", "P": "FR", "R": "KP", "U": "V", "V": "UY", "W": "VW", ".": ",: ", ",": ".. ", ":": ";.",
    "(": "[{", ")": "]}", "/": "7I", "-": "~_", "@": "€©", "€": "E¢", "£": "E", "$": "S8", "#": "H", "%": "8", "'": "’",
    '"': "”", "&": "8", "=": "-",
}  # fmt: skip
_STRAY = "| ~ — _ . : ‘ » “ = | ; - « ee © ° ! ]".split()
# Pages: how often such a one occurs, and the share of its letters, words and lines that go wrong.
_PAGES = ((0.22, 0.0), (0.4, 0.004), (0.25, 0.013), (0.1, 0.035), (0.03, 0.1))


Line = Sequence[OcrWord]


def imitate_ocr(lines: Sequence[Line], rng: np.random.Generator) -> list[list[OcrWord]]:
    """The printed lines as Tesseract might read them; of every fifth page each letter is right."""
    kind = int(rng.choice(len(_PAGES), p=[share for share, _ in _PAGES]))
    wrong = _PAGES[kind][1]
    # It mostly sees no rules.
    shown = [list(line) for line in lines if any(c.isalnum() for word in line for c in word.text) or rng.random() < 0.2]
    if not wrong:
        return shown
    found: list[list[OcrWord]] = []
    for line in shown:
        drawn = rng.random(8)
        if drawn[0] < wrong * 2.2:
            continue
        read = _misread(line, wrong, rng)
        if drawn[1] < wrong * 1.5:
            read = [_stray(line, 0, rng), *read]
        if drawn[2] < wrong * 2.5:
            read = [*read, _stray(line, -1, rng)]
        if drawn[3] < wrong * 0.6 and found:
            found[-1] += read
            continue
        if drawn[4] < wrong * 0.8 and len(read) > 1:
            cut = -1 if drawn[5] < 0.6 else 1
            found += [read[:cut], read[cut:]]
            continue
        found.append(read)
        if drawn[6] < wrong:
            found.append([_stray(line, -1, rng) for _ in range(int(rng.integers(1, 5)))])
    return [line for line in found if line]


def _stray(line: Line, beside: int, rng: np.random.Generator) -> OcrWord:
    """A sign that is not there, before the line's first word (0) or behind its last (-1)."""
    x0, y0, x1, y1 = line[beside].box
    wide = y1 - y0
    box = (x0 - 2 * wide, y0, x0 - wide, y1) if beside == 0 else (x1 + wide, y0, x1 + 2 * wide, y1)
    return OcrWord(_STRAY[int(rng.integers(len(_STRAY)))], box, 60.0)


def _misread(line: Line, wrong: float, rng: np.random.Generator) -> list[OcrWord]:
    """One line with its mistakes, letter by letter and word by word."""
    letters: list[tuple[str, Box | None]] = []  # each with its box, a space with none
    for word in line:
        x0, y0, x1, y1 = word.box
        wide = (x1 - x0) / len(word.text)
        letters += [(" ", None)] if letters else []
        letters += [(letter, (x0 + i * wide, y0, x0 + (i + 1) * wide, y1)) for i, letter in enumerate(word.text)]
    for i in np.nonzero(rng.random(len(letters)) < wrong)[0]:
        (letter, box), style = letters[i], rng.random()
        if letter == " ":
            letter = "" if style < 0.8 else " "
        elif style < 0.7:
            letter = str(rng.choice(list(_CONFUSED.get(letter, letter))))
        elif style < 0.85:
            letter = ""
        elif style < 0.93:
            letter = letter.swapcase()
        else:
            letter += " "
        letters[i] = (letter, box)
    words = _words(letters)
    kept: list[OcrWord] = []
    for word, drawn in zip(words, rng.random((len(words), 3)), strict=True):
        text = word.text
        if drawn[0] < wrong * 2 and len(words) > 1:  # unsure words are left out
            continue
        amount = re.fullmatch(r"(\D*\d+)[.,](\d\d\D*)", text)
        if amount and drawn[1] < wrong * 2:  # the point is small: it is lost, or seen as a gap
            text = f"{amount[1]}{'' if drawn[2] < 0.5 else ' ' if drawn[2] < 0.7 else '. '}{amount[2]}"
        elif len(text) > 1 and drawn[1] < wrong and text[-1] in ".,:":
            text = text[:-1]
        kept += spelled(text, word.box)
    return kept


def _words(letters: Sequence[tuple[str, Box | None]]) -> list[OcrWord]:
    """Letters, some of which may be a space or end with one, as words in the box around their letters."""
    words: list[OcrWord] = []
    text, boxes = "", list[Box]()
    for letter, box in [*letters, (" ", None)]:
        text += letter.strip()
        boxes += [box] if box and letter.strip() else []
        if letter.endswith(" ") and text:
            x0, y0, x1, y1 = boxes[0][0], min(b[1] for b in boxes), boxes[-1][2], max(b[3] for b in boxes)
            words.append(OcrWord(text, (round(x0), round(y0), round(x1), round(y1)), 90.0))
        if letter.endswith(" "):
            text, boxes = "", []
    return words


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
