"""Source: the OCR text of a packed prompt, and where its tokens, and those that quote or copy it, shall look."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise

from vlm_demo.synthetic.asking import Question
from vlm_demo.training.gaze import FIRST_PATCH, Gaze
from vlm_demo.training.patches import Places

LINE_LOOK = 3  # tokens of a line's beginning


@dataclass(frozen=True)
class Source:
    """OCR text in the prompt, with a space for each mark inside a line: its tokens' first characters (a mark's is that
    of the token behind it), the position of the first one in the sequence, and the patch of each token that is a mark.
    """

    text: str
    begins: list[int]
    start: int
    marks: dict[int, int]

    def gaze(self, gaze: Gaze) -> None:
        """Add where its own tokens look: at the one before, and at how their line begins."""
        line = 0
        for i, begin in enumerate(self.begins):
            gaze["previous"].append((self.start + i, 0, self.start + i - 1))
            if i and "\n" in self.text[self.begins[i - 1] : begin]:
                line = i
            gaze["line"] += [(self.start + i, 0, self.start + k) for k in range(line, min(line + LINE_LOOK, i + 1))]

    def places(self, gaze: Gaze) -> None:
        """Add that a mark and the token behind it look at the patch that the mark names."""
        for i, patch in self.marks.items():
            gaze["place"] += [(self.start + at, 0, FIRST_PATCH + patch) for at in (i, i + 1)]

    def labels(self, gaze: Gaze, places: Places) -> None:
        """Add that the first token of a name looks at the thing that it names, where both are unmistakable."""
        for name in places.texts:
            spots = _printed(self.text, name)
            if len(spots) == 1:
                _name(gaze["labelled"], name, self.start + bisect_right(self.begins, spots[0]) - 1, places)

    def named(
        self,
        gaze: Gaze,
        question: Question,
        starts: list[int],
        at: int,
        places: Places | None,
    ) -> list[int]:
        """Add that the printed names in a question are found in the OCR text and look at what they name; returns the
        positions of their first tokens.

        Args:
            starts: the first characters of the question's tokens and of what is added to it.
            at: the position of the first of them.
        """
        found: dict[int, str] = {}  # the names by their first tokens
        taken: set[int] = set()
        known = {*question.named, *(places.texts if places else ())}
        for name in sorted(known, key=lambda name: (-len(name), name)):
            spots = _printed(self.text, name)
            for start in _printed(question.text, name) if spots else ():
                tokens = range(bisect_right(starts, start) - 1, bisect_left(starts, start + len(name)))
                if not taken.isdisjoint(tokens):
                    continue
                taken.update(tokens)
                found[at + tokens[0]] = name
                for token in tokens:
                    begin = max(starts[token], start)
                    alone = begin + 1 == (starts[token + 1] if token + 1 < len(starts) else len(question.text))
                    there = {self._token(spot + begin - start, alone) for spot in spots}
                    gaze["previous"].append((at + token, 0, at + token - 1))
                    gaze["named"] += [(at + token, 0, self.start + same) for same in sorted(there)]
        if places is not None:
            for token, name in found.items():
                _name(gaze["things"], name, token, places)
        return sorted(found)

    def pointers(self, answer: str, copied: str, begins: list[int], first: int) -> list[tuple[int, int, int]]:
        """For each token of the copied part of the answer the places in the text that it is copied from."""
        found: list[tuple[int, int, int]] = []
        after, at = self.text.index("\n") + 1 if self.text else 0, answer.index(copied)
        for line in copied.split("\n"):
            spots = _occurrences(self.text, line, after)
            if "\n" in copied:  # a transcript: every line once, in order
                spots = spots[:1]
                after = spots[0] + len(line) if spots else after
            for i, (begin, end) in enumerate(pairwise([*begins, len(answer)])):
                if at <= begin <= at + len(line):
                    tokens = {self._token(spot + begin - at, end - begin == 1) for spot in spots}
                    found += [(first + i, 0, self.start + token) for token in sorted(tokens)]
            at += len(line) + 1
        return found

    def _token(self, character: int, alone: bool) -> int:
        """The token that holds a character of the text. A space that a mark stands for is held by the mark where it is
        a token ``alone``, and by the word behind it where it is a part of that."""
        token = bisect_right(self.begins, character) - 1
        if self.text[character : character + 1] != " " or self.begins[token] == character:
            return token
        return bisect_left(self.begins, character + 1) if alone else bisect_right(self.begins, character + 1) - 1


def _printed(text: str, name: str) -> list[int]:
    """Where a name stands in the text, not just as a part of a longer word."""

    def whole(start: int) -> bool:
        around = text[max(start - 1, 0) : start] + text[start + len(name) : start + len(name) + 1]
        return not any(letter.isalnum() for letter in around)

    return [start for start in _occurrences(text, name, 0) if whole(start)]


def _occurrences(text: str, part: str, after: int) -> list[int]:
    spots = []
    spot = text.find(part, after) if part else -1
    while spot >= 0:
        spots.append(spot)
        spot = text.find(part, spot + 1)
    return spots


def _name(aim: list[tuple[int, int, int]], name: str, token: int, places: Places) -> None:
    """Add to an aim that a name's first token looks at the thing that it names, where that is unmistakable."""
    if places.texts.count(name) == 1:
        patches = places.patches(places.texts.index(name))
        aim += [(token, 0, FIRST_PATCH + patch) for patch in sorted(patches)]
