"""Asking: what a question about a drawn picture is, and how one is made.

An unanswerable question has two right answers: with the evidence-only rule ``unknown``, without it a plausible guess,
as other vision-language models give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

# From which character of the answer on it is about which things (indices into the picture's).
Looks = tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Made:
    """A question before it is put into words.

    Attributes:
        kind: what is asked for; names the phrasings in `ways/`.
        fields: what fills the phrasing's braces.
        answer: the right answer under the evidence-only rule.
        guess: the answer without the rule, where that differs (the question is unanswerable), else None.
        looks: from which character of the answer on it is about which things of the picture; () = not said, no
            things = about their absence; two from the same character = the first things against the second.
        among: the things to be counted on the way to the answer, such as all bars to find the tallest; None = those
            of ``looks``.
        copied: the part of the answer that stands in the OCR text, or "".
        follow: a second turn that is understood only after this one, such as "And the circle?".
    """

    kind: str
    fields: dict[str, str]
    answer: str
    guess: str | None = None
    looks: Looks = ()
    among: tuple[int, ...] | None = None
    copied: str = ""
    follow: Made | None = None


Maker = Callable[[], Made | None]  # None: the picture does not allow this question
Makers = Sequence[tuple[float, Maker]]  # each with its weight


YES_NO = ("yes", "no")


def balanced(make: Maker, rng: np.random.Generator, tries: int) -> Maker:
    """The same questions with yes as often as no where the picture allows both, in up to ``tries`` attempts."""

    def made() -> Made | None:
        wanted = YES_NO[int(rng.integers(2))]
        found = make()
        if found and found.guess is not None:
            return found
        for _ in range(tries):
            if found and found.guess is None and found.answer == wanted:
                return found
            found = make()
        return None

    return made


@dataclass(frozen=True)
class Question:
    """One question about a picture: ``text`` as a person would type it, and what `Made` says of it."""

    kind: str
    text: str
    answer: str
    guess: str | None = None
    looks: Looks = ()
    among: tuple[int, ...] | None = None
    copied: str = ""
    follow: Question | None = field(default=None)

    @property
    def counted(self) -> tuple[int, ...]:
        """``among``, or all things that the answer is about."""
        if self.among is not None:
            return self.among
        return tuple(sorted({thing for _, things in self.looks for thing in things}))
