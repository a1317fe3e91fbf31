"""Scene questions: what can be asked of coloured shapes, with true answers from their outlines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlm_demo.synthetic.asking import Looks, Made, Maker, Makers
from vlm_demo.synthetic.scene_facts import ANY, FAINT
from vlm_demo.synthetic.scene_statements import EXTREMES, RELATIONS, SceneStatements
from vlm_demo.synthetic.world import COLOURS, SHAPES, UNKNOWN, ZONES, Picture, number_word, zone


def makers(picture: Picture, rng: np.random.Generator, read: list[str] | None) -> Makers:
    """What can be asked of a scene; OCR has no part in it."""
    return SceneAsker(picture, rng).makers()


class SceneAsker(SceneStatements):
    """Makes questions about one scene; every method returns one question, or None if it does not fit the scene."""

    def makers(self) -> list[tuple[float, Maker]]:
        """Every kind with its weight."""
        if not self.things:
            return [(1.0, self.count), (1.0, self.exist)]
        makers: list[tuple[float, Maker]] = [
            (1.4, self.colour), (1.7, self.shape), (2.8, self.count), (1.7, self.exist), (1.4, self.where),
            (1.9, self.statement), (1.3, self.describe), (1.2, self.what), (0.25, self.background), (0.06, self.medium),
        ]  # fmt: skip
        makers += [(1.2, self.relation), (1.2, self.extreme), (0.5, self.compare)]
        if len(self.things) == 1:
            makers.append((1.0, self.only))
        return makers

    def colour(self) -> Made | None:
        """What colour is the star?"""
        if self.rng.random() < 0.22:
            shape = self.pick(SHAPES)
            if self.matches(shape, None):
                return None
            return Made("colour", {"obj": shape}, UNKNOWN, self.seen_colour(), self.about([]))
        i = int(self.rng.integers(len(self.things)))
        thing = self.things[i]
        fitting = self.matches(thing.shape, None)
        if not self.clear or len({self.things[k].colour for k in fitting}) > 1:
            return None
        return Made("colour", {"obj": thing.shape}, thing.colour, None, self.about(fitting))

    def shape(self) -> Made | None:
        """What shape is red?"""
        if self.rng.random() < 0.22:
            colour = self.pick(list(COLOURS))
            if self.matches(None, colour):
                return None
            return Made("shape", {"tint": colour}, UNKNOWN, self.pick(self.things).shape, self.about([]))
        i = int(self.rng.integers(len(self.things)))
        thing = self.things[i]
        fitting = self.matches(None, thing.colour)
        if not self.clear or len({self.things[k].shape for k in fitting}) > 1:
            return None
        tint = self.pick(("gray", "grey")) if thing.colour == "gray" else thing.colour
        return Made("shape", {"tint": tint}, thing.shape, None, self.about(fitting))

    def only(self) -> Made:
        """What shape is this? (one thing in the picture)"""
        return Made("only", {}, self.things[0].shape, None, self.about([0]))

    def count(self) -> Made | None:
        """How many red circles are there?"""
        if not self.clear:
            return None
        if not self.things or self.rng.random() < 0.1:
            shape, colour = self.absent()
        else:
            t = self.pick(self.things)
            shape, colour = self.pick(
                [(t.shape, None), (t.shape, None), (None, t.colour), (t.shape, t.colour), (None, None)]
            )
        among = self.matches(shape, colour)
        if len(among) == 1 and self.rng.random() < 0.6:  # else "one" would be nearly always right
            return None
        plural = self.name(shape, colour, plural=True)
        return Made("count", {"plural": plural}, number_word(len(among)), None, self.about(among))

    def exist(self) -> Made | None:
        """Is there a blue star?"""
        if self.things and self.rng.random() < 0.5:
            i = int(self.rng.integers(len(self.things)))
            t = self.things[i]
            shape, colour = self.pick([(t.shape, t.colour), (t.shape, t.colour), (t.shape, None), (None, t.colour)])
            if t.visible < FAINT:
                return None
            return Made("exist", self._both(shape, colour), "yes", None, self.about(self.matches(shape, colour)))
        shape, colour = self.absent()
        return Made("exist", self._both(shape, colour), "no", None, self.about([]))

    def _both(self, shape: str | None, colour: str | None) -> dict[str, str]:
        return {"obj": self.name(shape, colour), "plural": self.name(shape, colour, plural=True)}

    def where(self) -> Made | None:
        """Where is the triangle?"""
        if self.rng.random() < 0.18:
            guess = self.pick([place for row in ZONES for place in row])
            return Made("where", {"obj": self.name(*self.absent())}, UNKNOWN, guess, self.about([]))
        i = int(self.rng.integers(len(self.things)))
        name, place = self.unique(i), zone(self.things[i], self.picture.image.size)
        if name is None or place is None or not self.clear:
            return None
        return Made("where", {"obj": name}, place, None, self.about([i]))

    def relation(self) -> Made | None:
        """Is the red circle left of the blue square?"""
        relation = self.pick(list(RELATIONS))
        words = self.pick(RELATIONS[relation])
        if len(self.things) < 2 or self.rng.random() < 0.12:
            shape, colour = self.absent()
            other = self.unique(0)
            if other is None:
                return None
            fields = {"obj": self.name(shape, colour), "other": other, "relation": words}
            return Made("relation", fields, UNKNOWN, self.pick(("yes", "no")), ())
        i, j = (int(k) for k in self.rng.choice(len(self.things), 2, replace=False))
        a, b = self.unique(i), self.unique(j)
        truth = self.holds(relation, self.things[i], self.things[j])
        if a is None or b is None or truth is None or not self.clear:
            return None
        return Made("relation", {"obj": a, "other": b, "relation": words}, "yes" if truth else "no", None, self.about([i, j]))

    def extreme(self) -> Made | None:
        """Which shape is the largest? What colour is the leftmost circle?"""
        extreme = self.pick(list(EXTREMES))
        words = self.pick(EXTREMES[extreme])
        wanted, among = self.pick(ANY), list(range(len(self.things)))
        if self.rng.random() < 0.5:
            if self.rng.random() < 0.35:
                wanted = self.pick(self.things).shape
                among = self.matches(wanted, None)
            i = self.standing_out(extreme, among)
            if i is None:
                return None
            return Made("extreme colour", {"extreme": words, "wanted": wanted}, self.things[i].colour, None, self.about([i]))
        i = self.standing_out(extreme, among)
        if i is None:
            return None
        return Made("extreme", {"extreme": words, "wanted": wanted}, self.things[i].shape, None, self.about([i]))

    def compare(self) -> Made | None:
        """Are there more circles than squares?"""
        if not self.clear:
            return None
        a = self.pick(self.things)
        b = self.pick(self.things)
        by_colour = self.rng.random() < 0.4
        one = (None, a.colour) if by_colour else (a.shape, None)
        two = (None, b.colour) if by_colour else (b.shape, None)
        if one == two:
            two = (None, self.pick(list(COLOURS))) if by_colour else (self.pick(SHAPES), None)
            if one == two:
                return None
        if self.rng.random() < 0.5:
            one, two = two, one
        answer = "yes" if len(self.matches(*one)) > len(self.matches(*two)) else "no"
        fields = {"plural": self.name(*one, plural=True), "others": self.name(*two, plural=True)}
        return Made("compare", fields, answer, None, ())

    def background(self) -> Made | None:
        """What colour is the background?"""
        name = self.picture.facts["background"]
        if name is None or self.picture.facts["groups"]:
            return None
        return Made("background", {}, str(name), None, ())

    def medium(self) -> Made:
        """What kind of picture is this?"""
        return Made("medium", {}, "drawing", None, ())

    def _listed(self, i: int) -> str:
        return f"{self.things[i].colour} {self.things[i].shape}"

    def describe(self) -> Made | None:
        """Describe the picture: up to four things from left to right, of more the largest."""
        return self._told("describe", self.article, sorted(range(len(self.things)), key=self._from_left))

    def what(self) -> Made | None:
        """What is in the picture? The same without articles, and in any order: the eye may begin anywhere."""
        return self._told("what", str, [int(i) for i in self.rng.permutation(len(self.things))])

    def _from_left(self, i: int) -> float:
        return self.things[i].centre[0]

    def _told(self, kind: str, named: Callable[[str], str], order: list[int]) -> Made | None:
        if not self.clear:
            return None
        if len(order) <= 4:
            text, looks = self._series(order, "", named)
            return Made(kind, {}, text, None, looks)
        largest = self.standing_out("largest", order)
        whole, lead = (0, tuple(self.numbers)), "many shapes, the largest "
        if largest is None:
            return None
        text, looks = self._series([largest], lead, self.article)
        return Made(kind, {}, text, None, (whole, *looks))

    def _series(self, order: list[int], text: str, named: Callable[[str], str]) -> tuple[str, Looks]:
        """``text`` and the names of the things one after the other; each name is about its thing."""
        looks = []
        for place, i in enumerate(order):
            looks.append((len(text), (self.numbers[i],)))
            rest = len(order) - 1 - place
            text += named(self._listed(i)) + (", " if rest > 1 else " and " if rest else "")
        return text, tuple(looks)

    def statement(self) -> Made | None:
        """True or false: exactly two shapes are red."""
        made = self.clause()
        if made is None:
            return None
        text, truth, among = made
        if self.rng.random() < 0.15:
            other = self.clause()
            if other is not None:
                both = self.rng.random() < 0.5
                text = f"{text} {'and' if both else 'or'} {other[0]}"
                truth = (truth and other[1]) if both else (truth or other[1])
                among = None
        looks = () if among is None else self.about(among)
        if self.rng.random() < 0.6:
            return Made("yes statement", {"statement": text}, "yes" if truth else "no", None, looks)
        return Made("true statement", {"statement": text}, "true" if truth else "false", None, looks)
