"""Scene questions: what can be asked of coloured shapes, with true answers from their outlines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vlm_demo.training.worlds.asking import YES_NO, Looks, Made, Maker, Makers, balanced
from vlm_demo.training.worlds.scene_facts import EXTREMES, FAINT, WORDS, Look
from vlm_demo.training.worlds.scene_statements import QUANTITIES, SceneStatements
from vlm_demo.training.worlds.world import COLOURS, SHAPES, UNKNOWN, ZONES, Picture, number_word, zone

LISTED = 4  # of more things only the largest is named
TRIES = 16  # to find a question whose answer is the wanted one
FOLLOWED = 0.15


def makers(picture: Picture, rng: np.random.Generator, read: list[str] | None) -> Makers:
    """What can be asked of a scene; OCR has no part in it."""
    return SceneAsker(picture, rng).makers()


class SceneAsker(SceneStatements):
    """Makes questions about one scene; every method returns one question, or None if it does not fit the scene."""

    def makers(self) -> list[tuple[float, Maker]]:
        """Every kind that the scene may allow, with its weight."""
        if not self.things:
            return [(1.0, self.count), (1.0, self.exist)]
        found: list[tuple[float, Maker]] = [
            (2.0, self.count), (1.3, self.exist), (1.3, self.where), (0.7, self.describe), (0.7, self.what),
            (0.2, self.background), (0.04, self.medium), (0.3, self.colours), (0.25, self.shapes),
            (0.3, self.how_many_colours), (0.3, self.how_many_kinds), (0.35, self.most_colour), (0.35, self.most_shape),
            (1.1, self.shape), (1.6, self.colour), (0.4, self.in_place),
            *((weight, balanced(make, self.rng, TRIES)) for weight, make in (
                (0.5, self.compare), (0.5, self.every), (0.5, self.number), (0.4, self.is_it),
            )),
            (3.0, self.statement),
        ]  # fmt: skip
        if len(self.things) == 1:
            return [*found, (1.0, self.only)]
        found += [
            (0.9, self.extreme), (0.7, self.choice), (0.35, self.which_of_two), (0.6, self.beside),
            (0.3, self.count_beside), (0.5, self.closest), (0.5, self.same_as), (0.4, self.edge),
            *((weight, balanced(make, self.rng, TRIES)) for weight, make in (
                (0.8, self.relation), (0.9, self.any_relation), (0.5, self.comparative), (0.4, self.extreme_is),
                (0.4, self.same),
            )),
        ]  # fmt: skip
        if self.odd() is not None:
            found.append((1.5, self.odd_one))
        if {"hollow", "outlined"} & set(self.traits):
            found.append((1.5, self.fill))
        if "large" in self.traits:
            found.append((1.0, self.size))
        if self.boxes:
            found += [
                (0.3, self.how_many_boxes), (1.0, self.count_in_box), (0.6, self.which_box), (0.9, self.in_which_box),
                (0.8, balanced(self.exist_in_box, self.rng, TRIES)), (0.5, balanced(self.box_with, self.rng, TRIES)),
            ]  # fmt: skip
        return found

    def _yes(self, kind: str, fields: dict[str, str], truth: bool, looks: Looks = ()) -> Made:
        return Made(kind, fields, "yes" if truth else "no", None, looks)

    def _unseen(self, kind: str, fields: dict[str, str], guesses) -> Made:
        """A question about what is not there."""
        return Made(kind, fields, UNKNOWN, self.pick(guesses), self.about([]))

    def _followed(self, made: Made | None, again: Callable[[], Made | None], kind: str, field: str) -> Made | None:
        """The question, now and then with a second one of the same kind that names only what differs."""
        if made is None or not self.chance(FOLLOWED):
            return made
        for _ in range(TRIES):
            other = again()
            if other and other.fields[field] != made.fields[field]:
                return replace(made, follow=replace(other, kind=kind))
        return made

    # What one thing is like.

    def colour(self) -> Made | None:
        """What colour is the star?"""
        return self._followed(self._colour(), self._colour, "follow thing", "obj")

    def _colour(self) -> Made | None:
        if self.chance(0.2):
            look = Look(self.pick(SHAPES), trait=self.pick(self.traits) if self.traits and self.chance(0.3) else None)
            if self.matches(look):
                return None
            return self._unseen("colour", {"obj": self.name(look)}, [t.colour for t in self.things])
        i = self.pick(range(len(self.things)))
        look = self.pick([way for way in self.ways(i) if way.colour is None])
        fitting = self.matches(look)
        if not self.clear or len({self.things[k].colour for k in fitting}) > 1:
            return None
        return Made("colour", {"obj": self.name(look)}, self.things[i].colour, None, self.about(fitting))

    def shape(self) -> Made | None:
        """What shape is red?"""
        if self.chance(0.2):
            colour = self.pick(list(COLOURS))
            if self.matches(Look(None, colour)):
                return None
            return self._unseen("shape", {"tint": self.tint(colour)}, [t.shape for t in self.things])
        thing = self.pick(self.things)
        fitting = self.matches(Look(None, thing.colour))
        if not self.clear or len({self.things[k].shape for k in fitting}) > 1:
            return None
        return Made("shape", {"tint": self.tint(thing.colour)}, thing.shape, None, self.about(fitting))

    def only(self) -> Made:
        """What shape is this? (one thing in the picture)"""
        return Made("only", {}, self.things[0].shape, None, self.about([0]))

    def where(self) -> Made | None:
        """Where is the triangle?"""
        return self._followed(self._where(), self._where, "follow thing", "obj")

    def _where(self) -> Made | None:
        if self.chance(0.15):
            return self._unseen("where", {"obj": self.name(self.absent())}, [place for row in ZONES for place in row])
        i = self.pick(range(len(self.things)))
        name, place = self.unique(i), zone(self.things[i], self.picture.image.size)
        if name is None or place is None or not self.clear:
            return None
        return Made("where", {"obj": name}, place, None, self.about([i]))

    def in_place(self) -> Made | None:
        """What is in the top left?"""
        places = [zone(t, self.picture.image.size) for t in self.things]
        if None in places or not self.clear or self.boxes:
            return None
        place = self.pick([p for row in ZONES for p in row] if self.chance(0.3) else places)
        fitting = [i for i, p in enumerate(places) if p == place]
        before = {"left": "on", "right": "on", "top": "at", "bottom": "at"}.get(place, "in")
        corner = " corner" if " " in place and self.chance(0.5) else ""
        fields = {"place": f"{before} the {place}{corner}"}
        if not fitting:
            return self._unseen("in place", fields, [self._listed(i) for i in range(len(self.things))])
        if len(fitting) > 1:
            return None
        return Made("in place", fields, self._listed(fitting[0]), None, self.about(fitting))

    def is_it(self) -> Made | None:
        """Is the circle red? Is the red thing a square?"""
        if self.chance(0.25):
            look = self.absent()
            if look.colour and look.shape:
                return None
            said = self.article(self.pick(SHAPES)) if look.colour else self.pick(list(COLOURS))
            return self._unseen("is it", {"obj": self.name(look), "said": said}, YES_NO)
        i = self.pick(range(len(self.things)))
        t, other = self.things[i], self.pick(self.things)
        if self.chance(0.5):
            look, right, said = Look(t.shape), t.colour, self.pick((other.colour, self.pick(list(COLOURS))))
        else:
            look, right, said = Look(None, t.colour), t.shape, self.pick((other.shape, self.pick(SHAPES)))
        said = right if self.chance(0.4) else said
        if self.matches(look) != [i] or not self.clear:
            return None
        predicate = self.article(said) if look.shape is None else self.tint(said)
        return self._yes("is it", {"obj": self.name(look), "said": predicate}, said == right, self.about([i]))

    def choice(self) -> Made | None:
        """Is the circle red or blue? Is the red one a square or a star?"""
        by_shape = self.chance(0.4)
        look = self.absent() if self.chance(0.15) else self.pick(self.ways(self.pick(range(len(self.things)))))
        look = Look(None, look.colour) if by_shape else Look(look.shape, None, look.trait)
        if not (look.colour if by_shape else look.shape) or not self.clear:
            return None
        fitting = self.matches(look)
        values = {self.things[i].shape if by_shape else self.things[i].colour for i in fitting}
        if len(values) > 1:
            return None
        pool = [t.shape if by_shape else t.colour for t in self.things]
        pool.append(self.pick(SHAPES if by_shape else list(COLOURS)))
        right = values.pop() if values else self.pick(pool)
        wrong = self.pick(pool)
        if wrong == right:
            return None
        one, two = (right, wrong) if self.chance(0.5) else (wrong, right)
        fields = {"obj": self.name(look), "one": one, "two": two}
        if by_shape:
            fields |= {"one": self.article(one), "two": self.article(two)}
        if not fitting:
            return self._unseen("choice", fields, (one, two))
        return Made("choice", fields, right, None, self.about(fitting))

    def fill(self) -> Made | None:
        """Is the circle hollow or filled?"""
        if "hollow" not in self.traits or not self.clear:
            return None
        fields = {"one": self.pick(WORDS["hollow"]), "two": self.pick(WORDS["filled"])}
        return self._trait("fill", fields, "hollow", "filled")

    def size(self) -> Made | None:
        """Is the circle large or small?"""
        fields = {"one": self.pick(WORDS["large"]), "two": self.pick(WORDS["small"])}
        return self._trait("size", fields, "large", "small")

    def _trait(self, kind: str, fields: dict[str, str], one: str, two: str) -> Made | None:
        if self.chance(0.15):
            look = self.absent()._replace(trait=None)
            if self.matches(look):
                return None
            return self._unseen(kind, self._either(fields, look), (fields["one"], fields["two"]))
        i = self.pick(range(len(self.things)))
        look = self.pick([way for way in self.ways(i) if way.trait is None])
        fitting = self.matches(look)
        if not self.clear or len({self.fits(k, Look(trait=one)) for k in fitting}) > 1:
            return None
        right = fields["one"] if self.fits(i, Look(trait=one)) else fields["two"]
        return Made(kind, self._either(fields, look), right, None, self.about(fitting))

    def _either(self, fields: dict[str, str], look: Look) -> dict[str, str]:
        one, two = (fields["one"], fields["two"]) if self.chance(0.5) else (fields["two"], fields["one"])
        return {"obj": self.name(look), "one": one, "two": two}

    # How many.

    def count(self) -> Made | None:
        """How many red circles are there?"""
        return self._followed(self._count(), self._count, "follow plural", "plural")

    def _count(self) -> Made | None:
        if not self.clear:
            return None
        if not self.things or self.chance(0.1):
            look = self.absent()
        else:
            ways = self.ways(self.pick(range(len(self.things))))
            look = Look() if self.chance(0.18) else self.pick(ways)
        among = self.matches(look)
        if len(among) == 1 and self.chance(0.6):  # else "one" would be nearly always right
            return None
        return Made("count", {"plural": self.name(look, plural=True)}, number_word(len(among)), None, self.about(among))

    def exist(self) -> Made | None:
        """Is there a blue star?"""
        return self._followed(self._exist(), self._exist, "follow exist", "obj")

    def _exist(self) -> Made | None:
        look = self.described() if self.things else self.absent()
        among = self.matches(look)
        if any(self.things[i].visible < FAINT for i in among):
            return None
        return self._yes("exist", self._both(look), bool(among), self.about(among))

    def _both(self, look: Look) -> dict[str, str]:
        return {"obj": self.name(look), "plural": self.name(look, plural=True)}

    def number(self) -> Made | None:
        """Are there at least two circles?"""
        if not self.clear:
            return None
        look = Look() if self.chance(0.12) else self.described(0.85)
        among = self.matches(look)
        k = max(1, len(among) + int(self.rng.integers(-1, 2)))
        words = self.quantity(k)
        words = "exactly" if words == "not" else words
        are, amount = "is" if k == 1 else "are", f"{words} {number_word(k)}"
        fields = {"are": are, "amount": amount, "plural": self.name(look, plural=k != 1)}
        return self._yes("number", fields, QUANTITIES[words](len(among), k), self.about(among))

    def compare(self) -> Made | None:
        """Are there more circles than squares?"""
        if not self.clear:
            return None
        one, two = self.described(0.9), self.described(0.7)
        one, two = (Look(None, one.colour or two.colour), Look(None, two.colour)) if self.chance(0.4) else (
            Look(one.shape), Look(two.shape)
        )  # fmt: skip
        if one == two or not any(one) or not any(two):
            return None
        a, b = self.matches(one), self.matches(two)
        fields = {"plural": self.name(one, plural=True), "others": self.name(two, plural=True)}
        return self._yes("compare", fields, len(a) > len(b), self.against(a, b))

    def every(self) -> Made | None:
        """Are all circles red?"""
        group, said, both = self._parts()
        whole, fitting = self.matches(group), self.matches(both)
        if not whole or not self.clear or (len(whole) < 2 and self.chance(0.7)):
            return None
        fields = {"plural": self.name(group, plural=True), "said": self._said(said, True)}
        return self._yes("every", fields, len(fitting) == len(whole), self.against(fitting, whole))

    def how_many_colours(self) -> Made | None:
        """How many different colours are there?"""
        return self._how_many_different("how many colours", {t.colour for t in self.things})

    def how_many_kinds(self) -> Made | None:
        """How many kinds of shapes are there?"""
        return self._how_many_different("how many kinds", {t.shape for t in self.things})

    def _how_many_different(self, kind: str, values: set[str]) -> Made | None:
        if not self.clear or len(values) > 8 or (len(values) == 1 and self.chance(0.5)):
            return None
        return Made(kind, {}, number_word(len(values)), None, self.about(range(len(self.things))))

    def count_beside(self) -> Made | None:
        """How many shapes are left of the square?"""
        i = self.pick(range(len(self.things)))
        name = self.unique(i)
        relation, words = self.some_relation()
        look = Look() if self.chance(0.5) else self.pick(self.ways(self.pick(range(len(self.things)))))
        answers = {k: self.holds(relation, self.things[k], self.things[i]) for k in self.matches(look) if k != i}
        if name is None or not self.clear or None in answers.values() or len(self.things) > 9:
            return None
        among = [k for k, held in answers.items() if held]
        if not among and self.chance(0.5):
            return None
        fields = {"plural": self.name(look, plural=True), "other": name, "relation": words}
        return Made("count beside", fields, number_word(len(among)), None, self.about(among))

    def edge(self) -> Made | None:
        """How many circles touch the edge?"""
        touching = self.touching()
        if touching is None or not self.clear or (not touching and self.chance(0.8)):
            return None
        look = Look() if self.chance(0.4) else self.pick(self.ways(self.pick(range(len(self.things)))))
        among = [i for i in self.matches(look) if i in touching]
        edges = ("the edge of their box", "a wall of their box") if self.boxes else ("the edge", "the border")
        fields = {"plural": self.name(look, plural=True), "edge": self.pick(edges)}
        return Made("edge", fields, number_word(len(among)), None, self.about(among))

    # Of several.

    def most_colour(self) -> Made | None:
        """Which colour is the most common?"""
        return self._most("most colour", [t.colour for t in self.things])

    def most_shape(self) -> Made | None:
        """Which shape is the most common?"""
        return self._most("most shape", [t.shape for t in self.things])

    def _most(self, kind: str, values: list[str]) -> Made | None:
        ranked = sorted(((values.count(v), v) for v in set(values)), reverse=True)
        if not self.clear or len(ranked) < 2 or ranked[0][0] == ranked[1][0]:
            return None
        among = [i for i, v in enumerate(values) if v == ranked[0][1]]
        return Made(kind, {}, ranked[0][1], None, self.about(among), tuple(self.numbers))

    def extreme(self) -> Made | None:
        """Which shape is the largest? What colour is the leftmost circle?"""
        extreme = self.pick(list(EXTREMES))
        words = self.pick(EXTREMES[extreme][0])
        by_shape = self.chance(0.5)
        t = self.pick(self.things)
        look = Look() if self.chance(0.6) else Look(None, t.colour) if by_shape else Look(t.shape)
        among = self.matches(look)
        i = self.standing_out(extreme, among)
        if i is None:
            return None
        counted = tuple(self.numbers[k] for k in among)
        fields = {"extreme": words, "wanted": self.name(look)}
        if by_shape:
            return Made("extreme", fields, self.things[i].shape, None, self.about([i]), counted)
        return Made("extreme colour", fields, self.things[i].colour, None, self.about([i]), counted)

    def extreme_is(self) -> Made | None:
        """Is the largest shape red?"""
        found = self._selects()
        if found is None or " not " in found.text or not self.clear:
            return None
        subject, said = found.text.split(" is ")
        fields = {"subject": subject, "said": said}
        return Made("extreme is", fields, "yes" if found.truth else "no", None, found.looks, found.among)

    def which_of_two(self) -> Made | None:
        """Which is larger, the circle or the square?"""
        extreme = self.pick(list(EXTREMES))
        fields = {"comparative": self.pick(EXTREMES[extreme][1])}
        i, j = self.several(2)
        one, two = self.unique(i), self.unique(j)
        if one is None or two is None or not self.clear:
            return None
        if self.chance(0.15):
            missing = self.name(self.absent())
            one, two = (one, missing) if self.chance(0.5) else (missing, two)
            return self._unseen("which of two", {**fields, "obj": one, "other": two}, (one, two))
        more = self.exceeds(extreme, i, j)
        if more is None:
            return None
        looks = self.about([i if more else j])
        among = (self.numbers[i], self.numbers[j])
        return Made("which of two", {**fields, "obj": one, "other": two}, one if more else two, None, looks, among)

    def comparative(self) -> Made | None:
        """Is the red circle bigger than the square?"""
        extreme = self.pick(list(EXTREMES))
        word = self.pick(EXTREMES[extreme][1])
        i, j = self.several(2)
        one, two = self.unique(i), self.unique(j)
        if one is None or two is None or not self.clear:
            return None
        if self.chance(0.12):
            fields = {"obj": self.name(self.absent()), "other": two, "comparative": word}
            return self._unseen("comparative", fields, YES_NO)
        more = self.exceeds(extreme, i, j)
        if more is None:
            return None
        fields = {"obj": one, "other": two, "comparative": word}
        return self._yes("comparative", fields, more, self.against([i], [j]))

    def odd(self) -> int | None:
        """Which thing differs from all the others, which are alike."""
        looks = [(t.shape, t.colour) for t in self.things]
        different = {look: looks.count(look) for look in looks}
        if len(looks) < 3 or len(different) != 2 or 1 not in different.values() or not self.clear:
            return None
        return next(i for i, look in enumerate(looks) if different[look] == 1)

    def odd_one(self) -> Made | None:
        """Which is the odd one out?"""
        i = self.odd()
        if i is None:
            return None
        return Made("odd one", {}, self._listed(i), None, self.about([i]), tuple(self.numbers))

    def same(self) -> Made | None:
        """Do the circle and the star have the same colour?"""
        i, j = self.several(2)
        one, two = self.unique(i), self.unique(j)
        by = self.pick(("colour", "shape"))
        if one is None or two is None or not self.clear:
            return None
        fields = {"obj": one, "other": two, "aspect": self.pick(("color", "colour")) if by == "colour" else "shape"}
        if self.chance(0.2):
            return self._unseen("same", {**fields, "obj": self.name(self.absent())}, YES_NO)
        a, b = self.things[i], self.things[j]
        truth = a.colour == b.colour if by == "colour" else a.shape == b.shape
        return self._yes("same", fields, truth, self.against([i], [j]))

    def same_as(self) -> Made | None:
        """What has the same colour as the circle?"""
        i = self.pick(range(len(self.things)))
        t = self.things[i]
        if self.matches(Look(t.shape)) != [i] or not self.clear:
            return None
        others = [k for k in self.matches(Look(None, t.colour)) if k != i]
        fields = {"obj": t.shape}
        if not others:
            shapes = [other.shape for other in self.things if other.shape != t.shape]
            return self._unseen("same as", fields, shapes) if shapes and self.chance(0.15) else None
        if len({self.things[k].shape for k in others}) > 1:
            return None
        return Made("same as", fields, self.things[others[0]].shape, None, self.about(others))

    # Where one is to another.

    def relation(self) -> Made | None:
        """Is the red circle left of the blue square?"""
        relation, words = self.some_relation()
        i, j = self.several(2)
        one, two = self.unique(i), self.unique(j)
        if one is None or two is None or not self.clear:
            return None
        if self.chance(0.2):
            missing = self.name(self.absent())
            one, two = (missing, two) if self.chance(0.6) else (one, missing)
            return self._unseen("relation", {"obj": one, "other": two, "relation": words}, YES_NO)
        truth = self.holds(relation, self.things[i], self.things[j])
        if truth is None:
            return None
        fields = {"obj": one, "other": two, "relation": words}
        return self._yes("relation", fields, truth, self.against([i], [j]))

    def any_relation(self) -> Made | None:
        """Is a triangle left of a square?"""
        relation, words = self.some_relation()
        one, two = self._pair()
        truth = self.any_holds(relation, one, two)
        if truth is None or not self.clear:
            return None
        names = self.article(self.name(one)), self.article(self.name(two))
        fields = {"one": names[0], "two": names[1], "relation": words, "obj": self.name(one)}
        return self._yes("any relation", fields, truth, self.against(self.matches(one), self.matches(two)))

    def beside(self) -> Made | None:
        """What is left of the square?"""
        i = self.pick(range(len(self.things)))
        name = self.unique(i)
        relation, words = self.some_relation()
        answers = {k: self.holds(relation, self.things[k], self.things[i]) for k in range(len(self.things)) if k != i}
        if name is None or not self.clear or None in answers.values():
            return None
        there = [k for k, held in answers.items() if held]
        fields = {"other": name, "relation": words}
        if not there:
            return self._unseen("beside", fields, [self._listed(k) for k in answers]) if self.chance(0.2) else None
        if len(there) > 1:
            return None
        return Made("beside", fields, self._listed(there[0]), None, self.about(there))

    def closest(self) -> Made | None:
        """Which shape is closest to the circle?"""
        i = self.pick(range(len(self.things)))
        name = self.unique(i)
        near = sorted((self.distance(i, k), k) for k in range(len(self.things)) if k != i)
        if name is None or not self.clear or len(near) < 2 or near[1][0] - near[0][0] < 0.06:
            return None
        among = tuple(self.numbers[k] for _, k in near)
        return Made("closest", {"other": name}, self._listed(near[0][1]), None, self.about([near[0][1]]), among)

    # Things in boxes.

    def how_many_boxes(self) -> Made:
        """How many boxes are there?"""
        return Made("how many boxes", {}, number_word(len(self.boxes)))

    def count_in_box(self) -> Made | None:
        """How many red shapes are in the left box?"""
        box = self.pick(range(len(self.boxes)))
        look = self.pick([Look(), self.described(0.9)])
        among = self.matches(look._replace(box=box))
        if not self.clear or (not among and self.chance(0.6)):
            return None
        fields = {"plural": self.name(look, plural=True), "box": f"the {self.box_name(box)}"}
        return Made("count in box", fields, number_word(len(among)), None, self.about(among))

    def exist_in_box(self) -> Made | None:
        """Is there a red square in the left box?"""
        look = self.described(0.85)
        box = self.pick(range(len(self.boxes)))
        among = self.matches(look._replace(box=box))
        fields = {**self._both(look), "box": f"the {self.box_name(box)}"}
        return self._yes("exist in box", fields, bool(among), self.about(among)) if self.clear else None

    def box_with(self) -> Made | None:
        """Is there a box with three shapes?"""
        if not self.clear:
            return None
        look = self.pick([Look(), self.described(0.9)])
        found = self.in_boxes(look)
        k = max(1, len(self.pick(found)) + self.pick((0, 0, 1)))
        words = self.pick(("", "", "exactly ", "at least ", "more than "))
        test = QUANTITIES[words.strip() or "exactly"]
        fitting = [n for n, things in enumerate(found) if test(len(things), k)]
        fields = {"amount": f"{words}{number_word(k)}", "plural": self.name(look, plural=k != 1)}
        return self._yes("box with", fields, bool(fitting), self._those(found, fitting))

    def which_box(self) -> Made | None:
        """Which box has the most shapes?"""
        most = self.chance(0.6)
        look = self.pick([Look(), self.pick(self.ways(self.pick(range(len(self.things)))))])
        found = self.in_boxes(look)
        order = sorted(range(len(found)), key=lambda n: len(found[n]), reverse=most)
        if not self.clear or len(found[order[0]]) == len(found[order[1]]) or len(self.boxes) != 3:
            return None
        amount = "the most" if most else "the fewest"
        fields = {"amount": amount, "plural": self.name(look, plural=True)}
        answer = ("left", "middle", "right")[order[0]]
        return Made("which box", fields, answer, None, self.about(found[order[0]]), tuple(self.numbers))

    def in_which_box(self) -> Made | None:
        """In which box is the red circle?"""
        places = ("left", "middle", "right") if len(self.boxes) == 3 else ("left", "right")
        if len(self.boxes) > 3 or not self.clear:
            return None
        if self.chance(0.05):
            return self._unseen("in which box", {"obj": self.name(self.absent())}, places)
        look = self.pick(self.ways(self.pick(range(len(self.things)))))
        fitting = self.matches(look)
        boxes = {self.box_of(i) for i in fitting}
        if len(boxes) != 1 or None in boxes:
            return None
        fields = {"obj": self.name(look)}
        return Made("in which box", fields, places[boxes.pop() or 0], None, self.about(fitting))

    # The whole picture.

    def background(self) -> Made | None:
        """What colour is the background?"""
        name = self.picture.facts["background"]
        if name is None or self.boxes:
            return None
        return Made("background", {}, str(name))

    def medium(self) -> Made:
        """What kind of picture is this?"""
        return Made("medium", {}, "drawing")

    def colours(self) -> Made | None:
        """Which colours are there? From left to right, each where it first occurs."""
        return self._list("colours", [t.colour for t in self.things])

    def shapes(self) -> Made | None:
        """Which kinds of shapes are there? From left to right, each where it first occurs."""
        return self._list("kinds", [t.shape for t in self.things])

    def _list(self, kind: str, values: list[str]) -> Made | None:
        order = sorted(range(len(values)), key=self._from_left)
        names = list(dict.fromkeys(values[i] for i in order))
        if not self.clear or len(names) > LISTED:
            return None
        text, looks = "", []
        for place, name in enumerate(names):
            looks.append((len(text), self.about([i for i in order if values[i] == name])[0][1]))
            text += name + self._link(len(names) - 1 - place)
        return Made(kind, {}, text, None, tuple(looks))

    def _link(self, rest: int) -> str:
        """What follows a name of a list before ``rest`` others."""
        return ", " if rest > 1 else " and " if rest else ""

    def _listed(self, i: int) -> str:
        return f"{self.things[i].colour} {self.things[i].shape}"

    def describe(self) -> Made | None:
        """Describe the picture: up to four things from left to right, of more the largest."""
        return self._told_all("describe", self.article, sorted(range(len(self.things)), key=self._from_left))

    def what(self) -> Made | None:
        """What is in the picture? The same without articles, and in any order: the eye may begin anywhere."""
        return self._told_all("what", str, self.several(len(self.things)))

    def _from_left(self, i: int) -> float:
        return self.things[i].centre[0]

    def _told_all(self, kind: str, named: Callable[[str], str], order: list[int]) -> Made | None:
        if not self.clear:
            return None
        if len(order) <= LISTED:
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
            text += named(self._listed(i)) + self._link(len(order) - 1 - place)
        return text, tuple(looks)

    def statement(self) -> Made | None:
        """True or false: exactly two shapes are red."""
        wanted = self.chance(0.5)
        make = self.compound if self.chance(0.2) else self.clause
        found = next(filter(None, (make(wanted) for _ in range(TRIES // 2))), None)
        if found is None:
            return None
        kind, answers = ("yes statement", YES_NO) if self.chance(0.6) else ("true statement", ("true", "false"))
        return Made(kind, {"statement": found.text}, answers[0 if wanted else 1], None, found.looks, found.among)
