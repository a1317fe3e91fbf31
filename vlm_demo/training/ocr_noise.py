"""OCR noise: printed lines → the same as OCR reads them, with imitated mistakes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

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


def imitate_ocr(lines: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The printed lines as Tesseract might read them; of every fifth page each letter is right."""
    wrong = _PAGES[int(rng.choice(len(_PAGES), p=[share for share, _ in _PAGES]))][1]
    # It mostly sees no rules.
    shown = [line for line in lines if any(letter.isalnum() for letter in line) or rng.random() < 0.2]
    if not wrong:
        return shown
    found: list[str] = []
    for line in shown:
        drawn = rng.random(7)
        if drawn[0] < wrong * 2.2:
            continue
        words = _misread(line, wrong, rng).split()
        before, behind = ([_stray(rng)] if drawn[k] < wrong * share else [] for k, share in ((1, 1.5), (2, 2.5)))
        words = [*before, *words, *behind]
        if drawn[3] < wrong * 0.6 and found:
            found[-1] = " ".join([found[-1], *words])
            continue
        cut = (-1 if drawn[5] < 0.6 else 1) if drawn[4] < wrong * 0.8 else len(words)
        found += [" ".join(words[:cut]), " ".join(words[cut:])]
        if drawn[6] < wrong:
            found.append(" ".join(_stray(rng) for _ in range(int(rng.integers(1, 5)))))
    return [line.strip() for line in found if line.strip()]


def _stray(rng: np.random.Generator) -> str:
    """A sign that is not there."""
    return _STRAY[int(rng.integers(len(_STRAY)))]


def _misread(line: str, wrong: float, rng: np.random.Generator) -> str:
    """One line with its mistakes, letter by letter and word by word."""
    letters = list(line)
    for i in np.nonzero(rng.random(len(letters)) < wrong)[0]:
        letter, style = letters[i], rng.random()
        if letter == " ":
            letters[i] = "" if style < 0.8 else " "
        elif style < 0.7:
            letters[i] = str(rng.choice(list(_CONFUSED.get(letter, letter))))
        else:
            letters[i] = "" if style < 0.85 else letter.swapcase() if style < 0.93 else letter + " "
    words = "".join(letters).split()
    kept = []
    for word, drawn in zip(words, rng.random((len(words), 3)), strict=True):
        if drawn[0] < wrong * 2 and len(words) > 1:  # unsure words are left out
            continue
        amount = re.fullmatch(r"(\D*\d+)[.,](\d\d\D*)", word)
        if amount and drawn[1] < wrong * 2:  # the point is small: it is lost, or seen as a gap
            word = f"{amount[1]}{'' if drawn[2] < 0.5 else ' ' if drawn[2] < 0.7 else '. '}{amount[2]}"
        elif len(word) > 1 and drawn[1] < wrong and word[-1] in ".,:":
            word = word[:-1]
        kept.append(word)
    return " ".join(kept)
