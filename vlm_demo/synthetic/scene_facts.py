"""Scene facts: one scene's things, how they are named, and what is true of them."""

from __future__ import annotations

import numpy as np

from vlm_demo.synthetic.asking import Looks
from vlm_demo.synthetic.world import COLOURS, SHAPES, Picture, Thing

Look = tuple[str | None, str | None]  # shape and colour, None = any

ANY = ("shape", "object", "thing")
FAINT = 0.35  # a thing that shows less of itself than this is neither surely there nor surely absent


class SceneFacts:
    """What can be said of a scene; ``rng`` decides between ways that are equally good."""

    def __init__(self, picture: Picture, rng: np.random.Generator) -> None:
        self.picture, self.rng = picture, rng
        self.numbers = [i for i, t in enumerate(picture.things) if t.visible > 0.05]
        self.things = [picture.things[i] for i in self.numbers]
        self.clear = all(t.visible >= FAINT for t in self.things)
        self.side = max(picture.image.size)

    def pick(self, options):
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def matches(self, shape: str | None, colour: str | None) -> list[int]:
        """Which things fit; None fits all."""
        return [
            i
            for i, t in enumerate(self.things)
            if (shape is None or t.shape == shape) and (colour is None or t.colour == colour)
        ]

    def about(self, among: list[int]) -> Looks:
        """The whole answer is about these of ``things``; of none: about their absence."""
        return ((0, tuple(self.numbers[i] for i in among)),)

    def name(self, shape: str | None, colour: str | None, *, plural: bool = False) -> str:
        """Such as "red circle", "blue shapes", "objects"."""
        noun = shape or self.pick(ANY)
        noun = (noun + "es" if noun == "cross" else noun + "s") if plural else noun
        tint = self.pick(("gray", "grey")) if colour == "gray" else colour
        return f"{tint} {noun}" if tint else noun

    def unique(self, i: int) -> str | None:
        """A way to refer to thing i that fits no other, or None."""
        thing = self.things[i]
        ways = [(thing.shape, thing.colour), (thing.shape, None), (None, thing.colour)]
        fitting = [way for way in ways if self.matches(*way) == [i]]
        return self.name(*self.pick(fitting)) if fitting else None

    def absent(self) -> Look:
        """A description that fits nothing here; often one whose shape and colour each occur."""
        t = self.pick(self.things) if self.things else None
        for _ in range(20):
            style = self.rng.random()
            shape = t.shape if t and style < 0.3 else self.pick(SHAPES)
            colour = t.colour if t and 0.3 <= style < 0.6 else self.pick(list(COLOURS))
            if t and style > 0.85 and len(self.things) > 1:
                shape, colour = t.shape, self.pick(self.things).colour
            way = self.pick([(shape, colour), (shape, colour), (shape, None), (None, colour)])
            if not self.matches(*way):
                return way
        return "moon", None

    def seen_colour(self) -> str:
        """A plausible colour to guess."""
        return self.pick(self.things).colour

    def holds(self, relation: str, a: Thing, b: Thing) -> bool | None:
        """Whether a is left of (…) b by their middles; None if it is too close to call."""
        axis = 0 if relation in ("left", "right") else 1
        gap = (b.centre[axis] - a.centre[axis]) / self.side
        if abs(gap) < 0.03:
            return None
        return (gap > 0) == (relation in ("left", "above"))

    def standing_out(self, extreme: str, among: list[int]) -> int | None:
        """The index of the largest, leftmost … thing, if it stands out."""
        if len(among) < 2 or not self.clear:
            return None
        things = [self.things[i] for i in among]
        if extreme in ("largest", "smallest"):
            score = np.log([max(t.area, 1) for t in things])
            margin = 0.25
        else:
            axis = 0 if extreme in ("leftmost", "rightmost") else 1
            score = np.array([t.centre[axis] / self.side for t in things])
            margin = 0.03
        if extreme in ("smallest", "leftmost", "top"):
            score = -score
        order = np.argsort(-score)
        return among[int(order[0])] if score[order[0]] - score[order[1]] > margin else None

    def article(self, name: str) -> str:
        return ("an " if name[0] in "aeiou" else "a ") + name
