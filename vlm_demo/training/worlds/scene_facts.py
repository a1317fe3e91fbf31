"""Scene facts: one scene's things, how they are named, and what is true of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vlm_demo.training.worlds.asking import Looks
from vlm_demo.training.worlds.world import COLOURS, SHAPES, Picture, Thing

ANY = ("shape", "object", "thing")
FAINT = 0.35  # a thing that shows less of itself than this is neither surely there nor surely absent
WORDS = {
    "large": ("large", "big"),
    "small": ("small", "little"),
    "hollow": ("hollow", "hollow", "empty"),
    "filled": ("filled", "solid"),
    "outlined": ("outlined",),
}
OPPOSITES = {"large": "small", "small": "large", "hollow": "filled", "filled": "hollow"}

RELATIONS = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "under", "lower than"),
}
CORNERS = {
    ("above", "left"): ("above left of", "above and to the left of", "above and left of", "to the upper left of"),
    ("above", "right"): ("above right of", "above and to the right of", "above and right of", "to the upper right of"),
    ("below", "left"): ("below left of", "below and to the left of", "below and left of", "to the lower left of"),
    ("below", "right"): ("below right of", "below and to the right of", "below and right of", "to the lower right of"),
}
# For each extreme its superlatives and its comparatives.
EXTREMES = {
    "largest": (("largest", "biggest"), ("larger", "bigger")),
    "smallest": (("smallest", "tiniest"), ("smaller",)),
    "leftmost": (("leftmost", "left-most"), ("further left", "more to the left", "farther left")),
    "rightmost": (("rightmost", "right-most"), ("further right", "more to the right", "farther right")),
    "top": (("topmost", "highest", "uppermost", "top"), ("higher", "higher up", "further up")),
    "bottom": (("lowest", "bottom", "lowermost", "bottommost"), ("lower", "lower down", "further down")),
    "darkest": (("darkest",), ("darker",)),
    "lightest": (("lightest", "brightest"), ("lighter", "brighter")),
}
MARGINS = {"size": 0.25, "place": 0.03, "light": 0.14}  # what a difference has to be, or it is too close to call


class Look(NamedTuple):
    """What things may have in common; None = any. ``trait`` is one of WORDS, ``box`` which of the boxes they are in."""

    shape: str | None = None
    colour: str | None = None
    trait: str | None = None
    box: int | None = None


class SceneFacts:
    """What can be said of a scene; ``rng`` decides between ways that are equally good."""

    def __init__(self, picture: Picture, rng: np.random.Generator) -> None:
        self.picture, self.rng = picture, rng
        self.numbers = [i for i, t in enumerate(picture.things) if t.visible > 0.05]
        self.things = [picture.things[i] for i in self.numbers]
        self.clear = all(t.visible >= FAINT for t in self.things)
        self.side = max(picture.image.size)
        self.boxes: Sequence[tuple[int, int, int, int]] = picture.facts["boxes"]
        self.rgbs = [picture.facts["rgbs"][i] for i in self.numbers]
        traits = {name for t in self.things for name in t.traits}
        self.traits = sorted(traits | {OPPOSITES[name] for name in traits if name == "hollow"})

    def pick(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        """True in this share of all cases."""
        return bool(self.rng.random() < share)

    def fits(self, i: int, look: Look) -> bool:
        """Whether thing i has all of the look."""
        t = self.things[i]
        return (
            look.shape in (None, t.shape)
            and look.colour in (None, t.colour)
            and (look.trait is None or self._has(t, look.trait))
            and look.box in (None, self.box_of(i))
        )

    def box_of(self, i: int) -> int | None:
        """In which box thing i lies."""
        x, _ = self.things[i].centre
        return next((k for k, box in enumerate(self.boxes) if box[0] <= x < box[2]), None)

    @staticmethod
    def _has(thing: Thing, trait: str) -> bool:
        return "hollow" not in thing.traits if trait == "filled" else trait in thing.traits

    def matches(self, look: Look) -> list[int]:
        """Which things fit."""
        return [i for i in range(len(self.things)) if self.fits(i, look)]

    def about(self, among: Sequence[int]) -> Looks:
        """The whole answer is about these of ``things``; of none: about their absence."""
        return ((0, tuple(self.numbers[i] for i in among)),)

    def against(self, one: Sequence[int], two: Sequence[int]) -> Looks:
        """The answer compares the first things with the second."""
        return (*self.about(one), *self.about(two))

    def ways(self, i: int) -> list[Look]:
        """How thing i may be looked for, the commoner ways twice."""
        t = self.things[i]
        both, shape, colour = Look(t.shape, t.colour), Look(t.shape), Look(None, t.colour)
        found = [both, both, shape, shape, colour]
        found += [way._replace(trait=trait) for trait in self.traits_of(i) for way in (both, shape, colour)]
        return found

    def traits_of(self, i: int) -> list[str]:
        """The traits of thing i that tell it from others of this scene."""
        return [name for name in self.traits if self.fits(i, Look(trait=name))]

    def name(self, look: Look, *, plural: bool = False) -> str:
        """Such as "red circle", "small blue shapes", "objects"; of a box: "circles in the left box"."""
        noun = look.shape or self.pick(ANY)
        noun = (noun + "es" if noun == "cross" else noun + "s") if plural else noun
        words = [self.pick(WORDS[look.trait])] if look.trait else []
        words += [self.tint(look.colour)] if look.colour else []
        where = f" in the {self.box_name(look.box)}" if look.box is not None else ""
        return " ".join([*words, noun]) + where

    def tint(self, colour: str) -> str:
        """The colour's name in one of its spellings."""
        return self.pick(("gray", "grey")) if colour == "gray" else colour

    def box_name(self, box: int) -> str:
        """Such as "left box"."""
        last = len(self.boxes) - 1
        place = {0: ("left", "leftmost"), last: ("right", "rightmost", "last")}
        if last == 2:
            place[1] = ("middle", "center")
        return self.pick((("first", "second", "third", "fourth")[box], *place.get(box, ()))) + " box"

    def article(self, name: str) -> str:
        """The name with its indefinite article."""
        return ("an " if name[0] in "aeiou" else "a ") + name

    def unique(self, i: int) -> str | None:
        """A way to refer to thing i that fits no other, or None."""
        fitting = [way for way in self.ways(i) if self.matches(way) == [i]]
        return self.name(self.pick(fitting)) if fitting else None

    def absent(self) -> Look:
        """A description that fits nothing here; often one whose parts each occur."""
        for _ in range(20):
            style = self.rng.random()
            near = self.pick(self.things) if self.things else None
            shape, colour = self.pick(SHAPES), self.pick(list(COLOURS))
            if near and style < 0.65:
                shape = near.shape if style < 0.3 or style > 0.55 else shape
                colour = self.pick(self.things).colour if style >= 0.3 else colour
            both = Look(shape, colour)
            way = self.pick([both, both, Look(shape), Look(None, colour)])
            if self.traits and self.chance(0.4):
                way = self.pick([both, Look(shape)])._replace(trait=self.pick(self.traits))
            if not self.matches(way):
                return way
        return Look(next(s for s in SHAPES if not self.matches(Look(s))))

    def described(self, there: float = 0.5) -> Look:
        """A description, in this share of all cases of something that is there."""
        return self.pick(self.ways(self.pick(range(len(self.things))))) if self.chance(there) else self.absent()

    def several(self, n: int) -> list[int]:
        """``n`` different things, in any order; fewer if there are not so many."""
        return [int(i) for i in self.rng.permutation(len(self.things))[:n]]

    def some_relation(self) -> tuple[tuple[str, ...], str]:
        """A relation, one direction or two at once, and words for it."""
        if self.chance(0.25):
            both = self.pick(list(CORNERS))
            return both, self.pick(CORNERS[both])
        one = self.pick(list(RELATIONS))
        return (one,), self.pick(RELATIONS[one])

    def holds(self, relation: Sequence[str], a: Thing, b: Thing) -> bool | None:
        """Whether a is left of (…) b by their middles, in every direction that is named; None if too close to call."""
        answers = []
        for direction in relation:
            axis = 0 if direction in ("left", "right") else 1
            gap = (b.centre[axis] - a.centre[axis]) / self.side
            near = abs(gap) < MARGINS["place"]
            answers.append(None if near else (gap > 0) == (direction in ("left", "above")))
        return False if False in answers else None if None in answers else True

    def any_holds(self, relation: Sequence[str], one: Look, two: Look) -> bool | None:
        """Whether any thing of the first look is left of (…) any of the second; None if that is too close to call."""
        answers = [
            self.holds(relation, self.things[i], self.things[j])
            for i in self.matches(one)
            for j in self.matches(two)
            if i != j
        ]
        return True if True in answers else None if None in answers else False

    def score(self, extreme: str, i: int) -> tuple[float, float]:
        """How large, far left, dark … thing i is, and what difference is enough to tell."""
        if extreme in ("largest", "smallest"):
            value, margin = float(np.log(max(self.things[i].area, 1))), MARGINS["size"]
        elif extreme in ("darkest", "lightest"):
            value, margin = float(np.dot(self.rgbs[i], (0.299, 0.587, 0.114))) / 255, MARGINS["light"]
        else:
            axis = 0 if extreme in ("leftmost", "rightmost") else 1
            value, margin = self.things[i].centre[axis] / self.side, MARGINS["place"]
        return (-value if extreme in ("smallest", "leftmost", "top", "darkest") else value), margin

    def standing_out(self, extreme: str, among: Sequence[int]) -> int | None:
        """Which of these is the largest, leftmost …, if it stands out."""
        if len(among) < 2 or not self.clear:
            return None
        scores = [self.score(extreme, i) for i in among]
        order = np.argsort([-value for value, _ in scores], kind="stable")
        first, second = (scores[int(k)][0] for k in order[:2])
        return among[int(order[0])] if first - second > scores[0][1] else None

    def exceeds(self, extreme: str, i: int, j: int) -> bool | None:
        """Whether thing i is larger, further left … than thing j; None if that is too close to call."""
        (one, margin), (two, _) = self.score(extreme, i), self.score(extreme, j)
        return None if abs(one - two) <= margin else one > two

    def touching(self) -> list[int] | None:
        """Which things touch the edge of their box or of the picture; None if that is too close to call."""
        found = []
        for i, thing in enumerate(self.things):
            box = self.box_of(i)
            around = self.boxes[box] if box is not None else (0, 0, *self.picture.image.size)
            short = min(around[2] - around[0], around[3] - around[1])
            gap = min(abs(a - b) for a, b in zip(thing.box, around, strict=True)) / short
            if 0.006 < gap < 0.03:
                return None
            if gap <= 0.006:
                found.append(i)
        return found
