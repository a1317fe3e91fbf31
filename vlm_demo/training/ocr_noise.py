"""OCR noise: printed lines → the same lines with imitated OCR errors."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

# What Tesseract misreads a letter as; more likely errors are repeated.
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
# Pages: how often such a page occurs, and the share of its letters, words and lines with errors.
_PAGES = ((0.22, 0.0), (0.4, 0.004), (0.25, 0.013), (0.1, 0.035), (0.03, 0.1))


def imitate_ocr(lines: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The printed lines as Tesseract might read them; of every fifth page each letter is right."""
    error_rate = _PAGES[int(rng.choice(len(_PAGES), p=[share for share, _ in _PAGES]))][1]
    # Tesseract mostly skips ruled lines.
    visible = [line for line in lines if any(letter.isalnum() for letter in line) or rng.random() < 0.2]
    if not error_rate:
        return visible
    read: list[str] = []
    for line in visible:
        draws = rng.random(7)
        if draws[0] < error_rate * 2.2:
            continue
        words = _misread(line, error_rate, rng).split()
        before, after = ([_stray(rng)] if draws[k] < error_rate * share else [] for k, share in ((1, 1.5), (2, 2.5)))
        words = [*before, *words, *after]
        if draws[3] < error_rate * 0.6 and read:
            read[-1] = " ".join([read[-1], *words])
            continue
        split_at = (-1 if draws[5] < 0.6 else 1) if draws[4] < error_rate * 0.8 else len(words)
        read += [" ".join(words[:split_at]), " ".join(words[split_at:])]
        if draws[6] < error_rate:
            read.append(" ".join(_stray(rng) for _ in range(int(rng.integers(1, 5)))))
    return [line.strip() for line in read if line.strip()]


def _stray(rng: np.random.Generator) -> str:
    """A character that is not printed."""
    return _STRAY[int(rng.integers(len(_STRAY)))]


def _misread(line: str, error_rate: float, rng: np.random.Generator) -> str:
    """One line with its errors, letter by letter and word by word."""
    letters = list(line)
    for i in np.nonzero(rng.random(len(letters)) < error_rate)[0]:
        letter, kind_draw = letters[i], rng.random()
        if letter == " ":
            letters[i] = "" if kind_draw < 0.8 else " "
        elif kind_draw < 0.7:
            letters[i] = str(rng.choice(list(_CONFUSED.get(letter, letter))))
        else:
            letters[i] = "" if kind_draw < 0.85 else letter.swapcase() if kind_draw < 0.93 else letter + " "
    words = "".join(letters).split()
    read = []
    for word, draws in zip(words, rng.random((len(words), 3)), strict=True):
        if draws[0] < error_rate * 2 and len(words) > 1:  # unsure words are left out
            continue
        amount = re.fullmatch(r"(\D*\d+)[.,](\d\d\D*)", word)
        if amount and draws[1] < error_rate * 2:  # the point is small: it is lost, or seen as a gap
            word = f"{amount[1]}{'' if draws[2] < 0.5 else ' ' if draws[2] < 0.7 else '. '}{amount[2]}"
        elif len(word) > 1 and draws[1] < error_rate and word[-1] in ".,:":
            word = word[:-1]
        read.append(word)
    return " ".join(read)
