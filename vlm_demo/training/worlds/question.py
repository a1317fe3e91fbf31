"""Question: a question about a drawn picture, before and after it is worded.

An unanswerable question has two right answers: with the evidence-only rule ``unknown``, without it a plausible guess,
as other vision-language models give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vlm_demo.training.worlds.world import number_word, series_of

YES_NO = ("yes", "no")


@dataclass(frozen=True)
class Question:
    """A question, at first unworded.

    Attributes:
        kind: what is asked for; names the phrasings in `ways/`.
        fields: what fills the phrasing's braces.
        answer: the right answer under the evidence-only rule.
        guess: the answer without the rule, where that differs (the question is unanswerable), else None.
        about: the things of the picture that the answer is about, as indices.
        copied: whether the answer is in the OCR text.
        follow: a second turn that is understood only after this one, such as "And the circle?".
        text: the question as a person would type it, once it is put into words.
    """

    kind: str
    fields: dict[str, str]
    answer: str
    guess: str | None = None
    about: tuple[int, ...] = ()
    copied: bool = False
    follow: Question | None = None
    text: str = ""


QuestionMaker = Callable[[], Question | None]  # None: the picture does not allow this question


@dataclass(frozen=True)
class QuestionForm:
    """A way to ask: its name, its weight among the others, and what makes one such question."""

    name: str
    weight: float
    make: QuestionMaker


def as_answer(value: Any) -> str:
    """A value as an answer."""
    if isinstance(value, bool):
        return YES_NO[0 if value else 1]
    if isinstance(value, int):
        return number_word(value)
    return series_of([str(part) for part in value]) if isinstance(value, list) else str(value)
