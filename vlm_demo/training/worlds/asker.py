"""Asker: a picture as a table of things → questions, each a program that the executor answers.

Knows how things are named, and how a program becomes a question; what is asked stands in ``common_questions`` and in
those of each area. What can't be answered is asked too.
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

Look = dict[str, Any]  # what things may have in common: attribute → value

FOLLOWED = 0.15
TRIES = 16  # to find a question whose answer is the wanted one
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
        adjectives: the attributes that are said before the noun, in this order.
        vocabulary: of an attribute the values that another picture might have.
    """

    noun, unnamed = "shape", 0.15
    general: tuple[str, ...] = ("object", "thing")
    adjectives: tuple[str, ...] = ("colour",)
    vocabulary: Mapping[str, Sequence[str]] = {"colour": tuple(COLOURS)}
    margins: Mapping[str, float] = {"x": 0.03, "y": 0.03, "area": 0.25, "light": 0.14}

    def __init__(self, picture: DrawnPicture, rng: np.random.Generator, read: list[str] | None) -> None:
        self.picture, self.rng, self.read, self.facts = picture, rng, read, picture.facts
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

    def name(self, look: Look, plural: bool = False) -> str:
        """Such as "red circle", "small blue shapes", "objects"."""
        noun = look.get(self.noun) or self.pick(self.general)
        words = [self.word(look[attribute]) for attribute in self.adjectives if attribute in look]
        return " ".join([*words, plural_of(noun) if plural else noun])

    def names(self, look: Look) -> dict[str, str]:
        """The fields for one such thing and for several."""
        return {"obj": self.name(look), "plural": self.name(look, plural=True)}

    def ways(self, i: int) -> list[Look]:
        """How thing i may be looked for, the commoner ways twice."""
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

    def unique(self, i: int) -> Look | None:
        """A way to look for thing i that fits no other, or None."""
        fitting = [way for way in self.ways(i) if self.table.matching(way) == [i]]
        return self.pick(fitting) if fitting else None

    def absent(self) -> Look:
        """A description that fits nothing here; often one whose parts each occur."""
        for _ in range(TRIES):
            look = dict(self.pick(self.ways(self.pick(range(len(self.rows)))))) if self.rows else {}
            look = look or {self.noun: self.pick(self.vocabulary[self.noun])}
            attribute = self.pick([name for name in look if name in self.vocabulary] or [self.noun])
            other = self.pick(self.rows)[attribute] if self.rows and self.chance(0.5) else None
            look[attribute] = other or self.pick(self.vocabulary[attribute])
            if not self.table.matching(look):
                return look
        free = [colour for colour in COLOURS if not self.table.matching({"colour": colour})]
        return {"colour": self.pick(free or list(COLOURS))}

    def described(self, there: float = 0.5) -> Look:
        """A description, in this share of all cases of something that is there."""
        if self.rows and self.chance(there):
            return dict(self.pick(self.ways(self.pick(range(len(self.rows))))))
        return self.absent()

    # From a program to a question.

    def made(
        self, kind: str, fields: dict[str, str], program: Program, guesses: Sequence[str] = YES_NO, *,
        table: Table | None = None, needs: Sequence[str] = (), copied: bool = False,
        about: tuple[int, ...] | None = None,
    ) -> Question | None:  # fmt: skip
        """The question with the program's answer; None where that is not clear.

        Args:
            guesses: what might be answered where the program finds nothing.
            table: the rows that the program runs on; the picture's things where it is None.
            needs: what must be read in the picture to answer: with OCR off there is no answer.
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
        if needed and self.read is None:
            guess = self.pick([g for g in guesses if g] or [answer])
            return Question(kind, fields, UNKNOWN, guess)
        if not all(self.legible(text) for text in needed):
            return None
        return Question(kind, fields, answer, None, outcome.about if about is None else about, copied)

    def legible(self, text: str) -> bool:
        """Whether OCR read the text as a whole."""
        return any(text in line for line in self.read or [])

    def balanced(self, make: QuestionMaker) -> QuestionMaker:
        """The same questions with yes as often as no where the picture allows both."""

        def found() -> Question | None:
            wanted, first = self.pick(YES_NO), make()
            if first and first.guess is not None:
                return first
            for _ in range(TRIES):
                if first and first.guess is None and first.answer == wanted:
                    return first
                first = make()
            return None

        return found

    def followed(self, make: QuestionMaker, kind: str, field: str) -> QuestionMaker:
        """The same questions, now and then with a second one that names only what differs."""

        def found() -> Question | None:
            first = make()
            if first is None or first.guess is not None or not self.chance(FOLLOWED):
                return first
            for _ in range(TRIES):
                other = make()
                alike = other and (other.kind == first.kind or kind == "follow field")
                if other and alike and other.fields[field] != first.fields[field] and other.about != first.about:
                    return replace(first, follow=replace(other, kind=kind))
            return first

        return found

    # Statements.

    def statement(self, makers: Sequence[QuestionMaker]) -> QuestionMaker:
        """True or false: there are at least two circles. Any question that is answered with yes or no, as a claim."""

        def clause(wanted: bool) -> tuple[str, Question] | None:
            for _ in range(TRIES):
                made = self.pick(makers)()
                if made and made.guess is None and made.answer == YES_NO[0 if wanted else 1]:
                    return tidy(self.pick(claims(made.kind)).format(**made.fields, color="color")), made
            return None

        def found() -> Question | None:
            truth, link = self.chance(0.5), self.pick(("and", "or"))
            first = clause(truth)
            if first is None:
                return None
            text, about = first[0], first[1].about
            if self.chance(0.12):  # a true "and" needs both, a false "or" too
                second = clause(truth if (link == "and") == truth else self.chance(0.5))
                if second is None or second[0] == text:
                    return None
                text, about = f"{text} {link} {second[0]}", (*about, *second[1].about)
            kind, answers = ("yes statement", YES_NO) if self.chance(0.6) else ("true statement", ("true", "false"))
            return Question(kind, {"statement": text}, answers[0 if truth else 1], None, about)

        return found


def claims(kind: str) -> list[str]:
    """The claims of a kind that is answered with yes or no, without the word for the picture."""
    return [text.replace("{here}", "") for text in WAYS[kind]["claims"] if "{image}" not in text]


def form(weight: float, make: Callable[[], Question | None], name: str = "") -> QuestionForm:
    """A form, named as its maker unless it is given a name."""
    return QuestionForm(name or getattr(make, "__name__", ""), weight, make)
