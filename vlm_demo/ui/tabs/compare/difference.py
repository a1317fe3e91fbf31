"""Difference: two texts, word by word → what is in both, what was added and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

SAME, ADDED, MISSING = "same", "added", "missing"


@dataclass(frozen=True)
class DiffWord:
    """One word of a text that is compared with another.

    Attributes:
        kind: ``same`` in both, ``added`` to the first, or ``missing`` from the other.
        text: the word.
        index: its position in its text: a missing one's in the first, any other's in the other.
    """

    kind: str
    text: str
    index: int


@dataclass(frozen=True)
class Difference:
    """How ``other`` differs from ``first``, both cut into words. Words are the same where they are spelled so."""

    first: tuple[str, ...]
    other: tuple[str, ...]

    @cached_property
    def steps(self) -> Sequence[tuple[str, int, int, int, int]]:
        """As difflib's opcodes."""
        return SequenceMatcher(None, self.first, self.other, autojunk=False).get_opcodes()

    @property
    def pieces(self) -> list[DiffWord]:
        """The other text with what is missing in it, in reading order."""
        found = []
        for kind, i1, i2, j1, j2 in self.steps:
            if kind != "equal":
                found += [DiffWord(MISSING, self.first[i], i) for i in range(i1, i2)]
            found += [DiffWord(SAME if kind == "equal" else ADDED, self.other[j], j) for j in range(j1, j2)]
        return found

    @property
    def summary(self) -> str:
        """How much differs, in a few words."""
        changed = added = missing = 0
        for kind, i1, i2, j1, j2 in self.steps:
            if kind != "equal":
                both = min(i2 - i1, j2 - j1)
                changed, added, missing = changed + both, added + j2 - j1 - both, missing + i2 - i1 - both
        counts = {"added": added, "missing": missing} if not changed else {}
        kinds = [what for what, count in counts.items() if count]
        count = changed + added + missing
        if not count:
            return "same words"
        what = kinds[0] if len(kinds) == 1 else f"differ{'s' * (count == 1)}"
        return f"{count} word{'s' * (count != 1)} {what}"

    def in_other(self, index: int) -> int | None:
        """The index of the other text's word that corresponds to one of the first; None where there is none."""
        for _, i1, i2, j1, j2 in self.steps:
            if i1 <= index < i2:
                return j1 + index - i1 if j1 + index - i1 < j2 else None
        return None

    def in_first(self, index: int) -> int | None:
        """Likewise, from the other text to the first."""
        for _, i1, i2, j1, j2 in self.steps:
            if j1 <= index < j2:
                return i1 + index - j1 if i1 + index - j1 < i2 else None
        return None


def between(first: Sequence[str], other: Sequence[str]) -> Difference:
    """How the words of one text differ from those of another."""
    return Difference(tuple(first), tuple(other))
