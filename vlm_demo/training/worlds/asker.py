"""Asker: a picture as a table of things → questions, each a program that the executor answers.

Knows how things are named, and how a program becomes a question; the questions themselves are in ``common_questions``
and in the module of each area. Questions that can't be answered are among them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vlm_demo.training.worlds.executor import Absent, Program, Table, Unclear, execute
from vlm_demo.training.worlds.phrasings import WAYS, tidy
from vlm_demo.training.worlds.question import YES_NO, Question, QuestionForm, QuestionMaker, as_answer
from vlm_demo.training.worlds.world import COLOURS, UNKNOWN, DrawnPicture, plural_of, zone

Description = dict[str, Any]  # attribute → value, of one thing or of several

FOLLOWED = 0.15  # the share of questions with a second turn
TRIES = 16  # to find a question with the wanted answer
WORDS = {
    "large": ("large", "big"),
    "small": ("small", "little"),
    "hollow": ("hollow", "hollow", "empty"),
    "filled": ("filled", "solid"),
    "gray": ("gray", "grey"),
}


class Asker(ABC):
    """Makes questions about one picture.

    Attributes:
        noun: the attribute that names a thing.
        unnamed: the share of counts that are of all things of any kind.
        general: words for any thing.
        adjectives: the attributes that are named before the noun, in this order.
        vocabulary: of an attribute the values that another picture might have.
    """

    noun, unnamed = "shape", 0.15
    general: tuple[str, ...] = ("object", "thing")
    adjectives: tuple[str, ...] = ("colour",)
    vocabulary: Mapping[str, Sequence[str]] = {"colour": tuple(COLOURS)}
    margins: Mapping[str, float] = {"x": 0.03, "y": 0.03, "area": 0.25, "light": 0.14}

    def __init__(self, picture: DrawnPicture, rng: np.random.Generator, ocr_lines: list[str] | None) -> None:
        self.picture, self.rng, self.ocr_lines, self.facts = picture, rng, ocr_lines, picture.facts
        self.table = Table([self.row(i) for i in range(len(picture.things))], self.margins)
        self.rows = self.table.rows

    def row(self, i: int) -> dict[str, Any]:
        """The attributes of thing i; places are shares of the picture's longer side."""
        thing, side = self.picture.things[i], max(self.picture.image.size)
        x, y = thing.centre
        row: dict[str, Any] = {"shape": thing.shape, "colour": thing.colour or None, "text": thing.text or None}
        row |= {"x": x / side, "y": y / side, "area": float(np.log(max(thing.area, 1)))}
        row["zone"] = zone(thing, self.picture.image.size)
        return row | dict(thing.facts)

    @abstractmethod
    def forms(self) -> list[QuestionForm]:
        """Every way to ask that the picture may allow."""

    # Chance and names.

    def pick(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        """True in this share of all cases."""
        return bool(self.rng.random() < share)

    def word(self, value: str) -> str:
        """The value in one of its spellings."""
        return str(self.pick(WORDS[value])) if value in WORDS else value

    def name(self, target: Description, plural: bool = False) -> str:
        """Such as "red circle", "small blue shapes", "objects"."""
        noun = target.get(self.noun) or self.pick(self.general)
        words = [self.word(target[attribute]) for attribute in self.adjectives if attribute in target]
        return " ".join([*words, plural_of(noun) if plural else noun])

    def names(self, target: Description) -> dict[str, str]:
        """The fields for one such thing and for several."""
        return {"obj": self.name(target), "plural": self.name(target, plural=True)}

    def descriptions(self, i: int) -> list[Description]:
        """Descriptions of thing i, the more usual ones twice."""
        row = self.rows[i]
        noun, found = {self.noun: row[self.noun]}, []
        for attribute in self.adjectives:
            if row.get(attribute) is not None:
                attributes = {attribute: row[attribute]}
                found += (
                    [{**noun, **attributes}, attributes]
                    if attribute != "colour"
                    else [{**noun, **attributes}] * 2 + [attributes]
                )
        return [noun, noun, *found]

    def unique(self, i: int) -> Description | None:
        """A description that fits thing i alone, or None."""
        fitting = [target for target in self.descriptions(i) if self.table.matching(target) == [i]]
        return self.pick(fitting) if fitting else None

    def absent(self) -> Description:
        """A description that fits nothing here; often one whose parts each occur."""
        for _ in range(TRIES):
            target = dict(self.pick(self.descriptions(self.pick(range(len(self.rows)))))) if self.rows else {}
            target = target or {self.noun: self.pick(self.vocabulary[self.noun])}
            attribute = self.pick([name for name in target if name in self.vocabulary] or [self.noun])
            other = self.pick(self.rows)[attribute] if self.rows and self.chance(0.5) else None
            target[attribute] = other or self.pick(self.vocabulary[attribute])
            if not self.table.matching(target):
                return target
        unused = [colour for colour in COLOURS if not self.table.matching({"colour": colour})]
        return {"colour": self.pick(unused or list(COLOURS))}

    def described(self, present: float = 0.5) -> Description:
        """A description, in this share of all cases of something that is there."""
        if self.rows and self.chance(present):
            return dict(self.pick(self.descriptions(self.pick(range(len(self.rows))))))
        return self.absent()

    # From a program to a question.

    def build(
        self, kind: str, fields: dict[str, str], program: Program, guesses: Sequence[str] = YES_NO, *,
        table: Table | None = None, needs: Sequence[str] = (), copied: bool = False,
        about: tuple[int, ...] | None = None,
    ) -> Question | None:  # fmt: skip
        """The question with the program's answer; None where that is not clear.

        Args:
            guesses: what might be answered where the program finds nothing.
            table: the rows that the program runs on; the picture's things where it is None.
            needs: texts that must be read in the picture to answer: with OCR off there is no answer.
            copied: the answer itself must be read as well.
            about: the things that the answer is about, where the rows are not the things.
        """
        try:
            outcome = execute(table or self.table, program)
        except Unclear:
            return None
        except Absent:
            others = [guess for guess in guesses if guess]
            return Question(kind, fields, UNKNOWN, self.pick(others)) if others else None
        answer = as_answer(outcome.value)
        needed = [*needs, *([answer] if copied else [])]
        if needed and self.ocr_lines is None:
            guess = self.pick([g for g in guesses if g] or [answer])
            return Question(kind, fields, UNKNOWN, guess)
        if not all(self.legible(text) for text in needed):
            return None
        return Question(kind, fields, answer, None, outcome.about if about is None else about, copied)

    def legible(self, text: str) -> bool:
        """Whether OCR read the text as a whole."""
        return any(text in line for line in self.ocr_lines or [])

    def balanced(self, make: QuestionMaker) -> QuestionMaker:
        """The same questions with yes as often as no where the picture allows both."""

        def maker() -> Question | None:
            wanted, question = self.pick(YES_NO), make()
            if question and question.guess is not None:
                return question
            for _ in range(TRIES):
                if question and question.guess is None and question.answer == wanted:
                    return question
                question = make()
            return None

        return maker

    def followed(self, make: QuestionMaker, kind: str, field: str) -> QuestionMaker:
        """The same questions, sometimes with a second turn that names only what differs."""

        def maker() -> Question | None:
            first = make()
            if first is None or first.guess is not None or not self.chance(FOLLOWED):
                return first
            for _ in range(TRIES):
                second = make()
                same_kind = second and (second.kind == first.kind or kind == "follow field")
                if second and same_kind and second.fields[field] != first.fields[field] and second.about != first.about:
                    return replace(first, follow=replace(second, kind=kind))
            return first

        return maker

    # Statements.

    def statement(self, makers: Sequence[QuestionMaker]) -> QuestionMaker:
        """True or false: there are at least two circles. Any question that is answered with yes or no, as a claim."""

        def clause(wanted: bool) -> tuple[str, Question] | None:
            for _ in range(TRIES):
                question = self.pick(makers)()
                if question and question.guess is None and question.answer == YES_NO[0 if wanted else 1]:
                    return tidy(self.pick(claims(question.kind)).format(**question.fields, color="color")), question
            return None

        def maker() -> Question | None:
            truth, conjunction = self.chance(0.5), self.pick(("and", "or"))
            first = clause(truth)
            if first is None:
                return None
            text, about = first[0], first[1].about
            if self.chance(0.12):  # a true "and" needs both, a false "or" too
                second = clause(truth if (conjunction == "and") == truth else self.chance(0.5))
                if second is None or second[0] == text:
                    return None
                text, about = f"{text} {conjunction} {second[0]}", (*about, *second[1].about)
            kind, answers = ("yes statement", YES_NO) if self.chance(0.6) else ("true statement", ("true", "false"))
            return Question(kind, {"statement": text}, answers[0 if truth else 1], None, about)

        return maker


def claims(kind: str) -> list[str]:
    """The claims of a kind that is answered with yes or no, without the word for the picture."""
    return [text.replace("{here}", "") for text in WAYS[kind]["claims"] if "{image}" not in text]


def form(weight: float, make: Callable[[], Question | None], name: str = "") -> QuestionForm:
    """A form, named as its maker unless it is given a name."""
    return QuestionForm(name or getattr(make, "__name__", ""), weight, make)
