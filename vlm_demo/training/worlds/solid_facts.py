"""Solid facts: the things on one table, how they are named, and what is true of them in the room."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from vlm_demo.training.worlds.asking import Looks
from vlm_demo.training.worlds.solids import MATERIALS, SIZES, TINTS
from vlm_demo.training.worlds.world import SOLIDS, Picture

TRIES = 40  # to find a question whose answer is the wanted one
APART = 0.4  # how far in the room things have to be apart to say which is further left or nearer

ASPECTS: dict[str, tuple[str, ...]] = {
    "shape": SOLIDS,
    "colour": tuple(TINTS),
    "material": MATERIALS,
    "size": tuple(SIZES),
}
WORDS = {
    "sphere": ("sphere", "sphere", "ball"),
    "cube": ("cube", "cube", "block"),
    "cylinder": ("cylinder",),
    "metal": ("metal", "metal", "metallic", "shiny"),
    "rubber": ("rubber", "rubber", "matte"),
    "large": ("large", "large", "big"),
    "small": ("small", "small", "little", "tiny"),
    "gray": ("gray", "grey"),
}
ANY = ("thing", "object")
RELATIONS = {
    ("left",): ("left of", "to the left of", "on the left side of"),
    ("right",): ("right of", "to the right of", "on the right side of"),
    ("front",): ("in front of",),
    ("behind",): ("behind",),
    ("front", "left"): ("in front and to the left of", "in front of and left of"),
    ("front", "right"): ("in front and to the right of", "in front of and right of"),
    ("behind", "left"): ("behind and to the left of", "behind and left of"),
    ("behind", "right"): ("behind and to the right of", "behind and right of"),
}


class Look(NamedTuple):
    """What things may have in common, in the order in which a name says it; None = any."""

    size: str | None = None
    colour: str | None = None
    material: str | None = None
    shape: str | None = None

    @property
    def said(self) -> int:
        """How many aspects it names."""
        return len(self) - self.count(None)


class SolidFacts:
    """What can be said of the solids of one picture; ``rng`` decides between ways that are equally good."""

    def __init__(self, picture: Picture, rng: np.random.Generator) -> None:
        self.picture, self.rng = picture, rng
        self.things = picture.things
        self.all = list(range(len(self.things)))
        self.places = np.array([position[:2] for position in picture.facts["positions"]])
        self.looks = [
            Look(size, thing.colour, material, thing.shape)
            for thing, size, material in zip(
                self.things, picture.facts["sizes"], picture.facts["materials"], strict=True
            )
        ]

    def pick(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        """True in this share of all cases."""
        return bool(self.rng.random() < share)

    def value(self, i: int, aspect: str) -> str:
        """The colour (…) of thing i."""
        return str(getattr(self.looks[i], aspect))

    def matches(self, look: Look) -> list[int]:
        """Which things fit."""
        return [i for i in self.all if all(a in (None, b) for a, b in zip(look, self.looks[i], strict=True))]

    def about(self, among: Sequence[int]) -> Looks:
        """The whole answer is about these things; of none: about their absence."""
        return ((0, tuple(among)),)

    def against(self, one: Sequence[int], two: Sequence[int]) -> Looks:
        """The answer compares the first things with the second."""
        return (*self.about(one), *self.about(two))

    def parts(self, i: int, without: Sequence[str] = ()) -> list[Look]:
        """Every description that fits thing i and leaves these aspects out, the shortest first."""
        aspects = [aspect for aspect in Look._fields if aspect not in without]
        chosen = [some for n in range(len(aspects) + 1) for some in combinations(aspects, n)]
        return [Look(**{aspect: self.value(i, aspect) for aspect in some}) for some in chosen]

    def part(self, i: int, without: Sequence[str] = ()) -> Look:
        """One such description, mostly of one or two aspects, never of none."""
        aspects = [aspect for aspect in Look._fields if aspect not in without]
        n = 1 + int(np.searchsorted((0.42, 0.8, 0.95), self.rng.random()))
        return Look(**{aspects[k]: self.value(i, aspects[k]) for k in self.rng.permutation(len(aspects))[:n]})

    def unique(self, i: int, without: Sequence[str] = ()) -> Look | None:
        """A description that fits only thing i, mostly one of the shortest, or None."""
        fitting = [look for look in self.parts(i, without) if look.said and self.matches(look) == [i]]
        if not fitting:
            return None
        shortest = [look for look in fitting if look.said == fitting[0].said]
        return self.pick(shortest if self.chance(0.6) else fitting)

    def named(self, i: int) -> str | None:
        """The name of such a description."""
        look = self.unique(i)
        return self.name(look) if look else None

    def absent(self, without: Sequence[str] = ()) -> Look | None:
        """A description that fits nothing here; mostly that of a thing with one aspect changed, for one seen if so."""
        for _ in range(TRIES):
            look = self.part(self.pick(self.all), without)
            aspect = self.pick([name for name, value in look._asdict().items() if value])
            pool = [self.value(i, aspect) for i in self.all] if self.chance(0.5) else ASPECTS[aspect]
            look = look._replace(**{aspect: self.pick(pool)})
            if not self.matches(look):
                return look
        return None

    def described(self, there: float = 0.5) -> Look:
        """A description, in this share of all cases of something that is there."""
        absent = None if self.chance(there) else self.absent()
        return absent or self.part(self.pick(self.all))

    def word(self, value: str) -> str:
        """The value in one of its words."""
        return self.pick(WORDS.get(value, (value,)))

    def name(self, look: Look, *, plural: bool = False) -> str:
        """Such as "large metal sphere", "red things"."""
        words = [self.word(value) for value in look[:3] if value]
        noun = self.word(look.shape) if look.shape else self.pick(ANY)
        return " ".join([*words, noun + "s" if plural else noun])

    def article(self, name: str) -> str:
        """The name with its indefinite article."""
        return ("an " if name[0] in "aeiou" else "a ") + name

    def said(self, aspect: str, value: str, *, plural: bool = False) -> str:
        """A value as a predicate: "red", "a cube", "made of metal"."""
        word = self.word(value)
        if aspect == "shape":
            return word + "s" if plural else self.article(word)
        if aspect == "material" and self.chance(0.4):
            return f"made of {value}"
        return word

    def spelled(self, aspect: str) -> str:
        """The aspect in one of its spellings."""
        return self.pick(("color", "colour")) if aspect == "colour" else aspect

    def some_relation(self) -> tuple[tuple[str, ...], str]:
        """A relation, mostly in one direction, and words for it."""
        relations = [relation for relation in RELATIONS if len(relation) == (2 if self.chance(0.15) else 1)]
        relation = self.pick(relations or list(RELATIONS))
        return relation, self.pick(RELATIONS[relation])

    def toward(self, direction: str, i: int, j: int) -> bool | None:
        """Whether thing i is further left (right, …) than j, in the room and, sideways, in the picture; None: close."""
        x, y = self.places[i] - self.places[j]
        if direction in ("left", "right"):
            seen = (self.things[i].centre[0] - self.things[j].centre[0]) / self.picture.image.width
            if abs(x) < APART or x * seen <= 0 or abs(seen) < 0.025:
                return None
            return bool(x < 0) == (direction == "left")
        return None if abs(y) < APART else bool(y < 0) == (direction == "front")

    def holds(self, relation: Sequence[str], i: int, j: int) -> bool | None:
        """Whether i is so in every direction that is named; None if too close to call."""
        answers = [self.toward(direction, i, j) for direction in relation]
        return False if False in answers else None if None in answers else True

    def any_holds(self, relation: Sequence[str], one: Sequence[int], two: Sequence[int]) -> bool | None:
        """Whether any of the first is so to any of the second; None if that is too close to call."""
        answers = [self.holds(relation, i, j) for i in one for j in two if i != j]
        return True if True in answers else None if None in answers else False

    def beside(self, relation: Sequence[str], among: Sequence[int], i: int) -> list[int] | None:
        """Which of these are so to thing i; None if that is too close to call."""
        answers = {k: self.holds(relation, k, i) for k in among if k != i}
        return None if None in answers.values() else [k for k, held in answers.items() if held]

    def exceeds(self, extreme: str, i: int, j: int) -> bool | None:
        """Whether thing i is nearer, larger … than j; None if that is too close to call."""
        if extreme not in SIZES:
            return self.toward(extreme, i, j)
        sizes = self.value(i, "size"), self.value(j, "size")
        return None if sizes[0] == sizes[1] else sizes[0] == extreme

    def standing_out(self, extreme: str, among: Sequence[int]) -> int | None:
        """Which of these is the nearest, largest …, if it stands out."""
        if len(among) < 2:
            return None
        return next((i for i in among if all(self.exceeds(extreme, i, k) for k in among if k != i)), None)

    def distance(self, i: int, j: int) -> float:
        """How far apart two things are in the room."""
        return math.dist(self.places[i], self.places[j])

    def several(self, n: int) -> list[int]:
        """``n`` different things, in any order; fewer if there are not so many."""
        return [int(i) for i in self.rng.permutation(len(self.things))[:n]]
