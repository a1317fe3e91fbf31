"""Solid questions: what can be asked of spheres, cubes and cylinders on a table, from where they stand in the room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from vlm_demo.training.worlds.asking import YES_NO, Looks, Made, Maker, Makers, balanced
from vlm_demo.training.worlds.scene_statements import QUANTITIES, Clause
from vlm_demo.training.worlds.solid_facts import ASPECTS, TRIES, Look, SolidFacts
from vlm_demo.training.worlds.solids import SIZES
from vlm_demo.training.worlds.world import UNKNOWN, ZONES, Picture, number_word, zone

LISTED = 4  # of more things only the nearest is named
FOLLOWED = 0.15
UNSEEN = 0.17  # the share of questions about what is not there
RARE = 0.08  # the same where what is there is often too near, too many or the like to be asked for
MEDIUM = "3d scene"

KINDS = {"shape": "solid shape", "colour": "colour", "material": "material", "size": "solid size"}
# For each extreme its superlatives and its comparatives.
EXTREMES = {
    "front": (("nearest", "closest", "frontmost"), ("nearer", "closer to the camera", "further in front")),
    "behind": (("farthest", "furthest", "rearmost"), ("farther away", "further back", "more distant")),
    "left": (("leftmost", "left-most"), ("further left", "more to the left")),
    "right": (("rightmost", "right-most"), ("further right", "more to the right")),
    "large": (("largest", "biggest"), ("larger", "bigger")),
    "small": (("smallest",), ("smaller",)),
}


def makers(picture: Picture, rng: np.random.Generator, read: list[str] | None) -> Makers:
    """What can be asked of solids; OCR has no part in it."""
    return SolidAsker(picture, rng).makers()


class SolidAsker(SolidFacts):
    """Makes questions about one picture; every method returns one question, or None if it does not fit the picture."""

    def makers(self) -> list[tuple[float, Maker]]:
        """Every kind that the picture may allow, with its weight."""
        found: list[tuple[float, Maker]] = [
            (3.2, self.attribute), (2.2, self.count), (1.3, self.exist), (0.6, self.where), (0.7, self.describe),
            (0.5, self.what), (0.05, self.medium), (0.2, self.how_many), (0.15, self.colours), (0.15, self.shapes),
            (0.2, self.most), (0.7, self.choice), (0.5, self.count_either), (2.0, self.statement),
            *((weight, balanced(make, self.rng, TRIES)) for weight, make in (
                (0.5, self.compare), (0.4, self.fewer), (0.4, self.same_number), (0.5, self.every),
                (0.4, self.number), (0.6, self.is_it),
            )),
        ]  # fmt: skip
        if len(self.things) == 1:
            return found
        return [
            *found, (1.6, self.attribute_beside), (0.9, self.attribute_extreme), (0.5, self.extreme),
            (0.5, self.attribute_same), (0.7, self.count_beside), (0.5, self.what_beside), (0.3, self.closest),
            (0.4, self.which_of_two), (0.5, self.count_same),
            *((weight, balanced(make, self.rng, TRIES)) for weight, make in (
                (1.2, self.relation), (0.8, self.any_relation), (0.7, self.same), (0.6, self.another_same),
            )),
        ]  # fmt: skip

    def _yes(self, kind: str, fields: dict[str, str], truth: bool, looks: Looks) -> Made:
        return Made(kind, fields, "yes" if truth else "no", None, looks)

    def _unseen(self, kind: str, fields: dict[str, str], guesses: Sequence[str]) -> Made:
        """A question about what is not there."""
        return Made(kind, fields, UNKNOWN, self.pick(guesses), self.about([]))

    def _followed(self, make: Maker, kind: str, field: str) -> Made | None:
        """The question, now and then with a second one of the same kind that names only what differs."""
        made = make()
        if made is None or not self.chance(FOLLOWED):
            return made
        for _ in range(TRIES):
            other = make()
            if other and other.fields[field] != made.fields[field]:
                return replace(made, follow=replace(other, kind=kind))
        return made

    # What one thing is like.

    def attribute(self) -> Made | None:
        """What colour is the large metal sphere? What is the cube made of?"""
        aspect = self.pick(("shape", "colour", "colour", "material", "material", "size"))
        return self._followed(lambda: self._attribute(aspect), "follow thing", "obj")

    def _attribute(self, aspect: str) -> Made | None:
        if self.chance(UNSEEN):
            look = self.absent((aspect,))
            if look is None:
                return None
            return self._unseen(KINDS[aspect], {"obj": self.name(look)}, [self.value(i, aspect) for i in self.all])
        i = self.pick(self.all)
        look = self.unique(i, (aspect,))
        if look is None:
            look = self.part(i, (aspect,))  # several alike may share the answer
        fitting = self.matches(look)
        if len({self.value(k, aspect) for k in fitting}) > 1:
            return None
        return Made(KINDS[aspect], {"obj": self.name(look)}, self.value(i, aspect), None, self.about(fitting))

    def where(self) -> Made | None:
        """Where is the cube?"""
        return self._followed(self._where, "follow thing", "obj")

    def _where(self) -> Made | None:
        if self.chance(RARE):
            look = self.absent()
            places = [place for row in ZONES for place in row]
            return self._unseen("where", {"obj": self.name(look)}, places) if look else None
        i = self.pick(self.all)
        name, place = self.named(i), zone(self.things[i], self.picture.image.size)
        return Made("where", {"obj": name}, place, None, self.about([i])) if name and place else None

    def is_it(self) -> Made | None:
        """Is the cube red? Is the red thing made of metal?"""
        aspect = self.pick(list(ASPECTS))
        value = self.pick(ASPECTS[aspect])
        if self.chance(UNSEEN):
            look = self.absent((aspect,))
            fields = {"said": self.said(aspect, value)}
            return self._unseen("is it", {"obj": self.name(look), **fields}, YES_NO) if look else None
        i = self.pick(self.all)
        look = self.unique(i, (aspect,))
        if look is None:
            return None
        right = self.value(i, aspect)
        value = right if self.chance(0.5) else self.pick((value, self.value(self.pick(self.all), aspect)))
        fields = {"obj": self.name(look), "said": self.said(aspect, value)}
        return self._yes("is it", fields, value == right, self.about([i]))

    def choice(self) -> Made | None:
        """Is the cube rubber or metal? Is the large thing a sphere or a cube?"""
        aspect = self.pick(list(ASPECTS))
        unseen = self.chance(UNSEEN)
        i = self.pick(self.all)
        look = self.absent((aspect,)) if unseen else self.unique(i, (aspect,))
        right, wrong = self.value(i, aspect), self.pick(ASPECTS[aspect])
        if look is None or wrong == right:
            return None
        one, two = (right, wrong) if self.chance(0.5) else (wrong, right)
        fields = {"obj": self.name(look), "one": one, "two": two}
        if aspect == "shape":
            fields |= {"one": self.article(one), "two": self.article(two)}
        if unseen:
            return self._unseen("choice", fields, (one, two))
        return Made("choice", fields, right, None, self.about([i]))

    # How many.

    def count(self) -> Made | None:
        """How many small metal cubes are there?"""
        return self._followed(self._count, "follow plural", "plural")

    def _count(self) -> Made | None:
        look = Look() if self.chance(0.15) else self.described(0.85)
        among = self.matches(look)
        if len(among) == 1 and self.chance(0.6):  # else "one" would be nearly always right
            return None
        return Made("count", {"plural": self.name(look, plural=True)}, number_word(len(among)), None, self.about(among))

    def count_either(self) -> Made | None:
        """How many things are red or cubes? How many things are either metal or small?"""
        (one, a), (two, b) = self._kind(), self._kind()
        if (one, a) == (two, b):
            return None
        among = [i for i in self.all if a == self.value(i, one) or b == self.value(i, two)]
        if len(among) == 1 and self.chance(0.6):
            return None
        fields = {
            "plural": self.name(Look(), plural=True),
            "one": self.said(one, a, plural=True),
            "two": self.said(two, b, plural=True),
        }
        return Made("count either", fields, number_word(len(among)), None, self.about(among))

    def _kind(self) -> tuple[str, str]:
        """An aspect and a value of it, mostly one that is seen."""
        aspect = self.pick(list(ASPECTS))
        value = self.value(self.pick(self.all), aspect) if self.chance(0.85) else self.pick(ASPECTS[aspect])
        return aspect, value

    def count_beside(self) -> Made | None:
        """How many metal things are left of the cube?"""
        i = self.pick(self.all)
        name = self.named(i)
        relation, words = self.some_relation()
        look = Look() if self.chance(0.4) else self.part(self.pick(self.all))
        there = self.beside(relation, self.matches(look), i)
        if name is None or there is None or (len(there) < 2 and self.chance(0.4)):
            return None
        fields = {"plural": self.name(look, plural=True), "other": name, "relation": words}
        return Made("count beside", fields, number_word(len(there)), None, self.about(there))

    def count_same(self) -> Made | None:
        """How many other things have the same colour as the cube?"""
        found = self._alike()
        if found is None:
            return None
        fields, others = found
        if len(others) < 2 and self.chance(0.4):
            return None
        return Made("count same", fields, number_word(len(others)), None, self.about(others))

    def _alike(self) -> tuple[dict[str, str], list[int]] | None:
        """A thing, an aspect, and the others that have this in common with it."""
        i, aspect = self.pick(self.all), self.pick(list(ASPECTS))
        name = self.named(i)
        look = Look() if self.chance(0.6) else self.part(self.pick(self.all), (aspect,))
        if name is None:
            return None
        others = [k for k in self.matches(look) if k != i and self.value(k, aspect) == self.value(i, aspect)]
        fields = {
            "wanted": self.name(look),
            "plural": self.name(look, plural=True),
            "aspect": self.spelled(aspect),
            "obj": name,
        }
        return fields, others

    def how_many(self) -> Made | None:
        """How many different colours are there? How many kinds of shapes?"""
        aspect, kind = self.pick((("colour", "how many colours"), ("shape", "how many kinds")))
        values = {self.value(i, aspect) for i in self.all}
        if len(values) == 1 and self.chance(0.5):
            return None
        return Made(kind, {}, number_word(len(values)), None, self.about(self.all))

    def number(self) -> Made | None:
        """Are there at least two cubes?"""
        look = Look() if self.chance(0.12) else self.described(0.85)
        among = self.matches(look)
        k = max(1, len(among) + int(self.rng.integers(-1, 2)))
        words = self._quantity(k)
        fields = {"are": "is" if k == 1 else "are", "amount": f"{words} {number_word(k)}"}
        fields["plural"] = self.name(look, plural=k != 1)
        return self._yes("number", fields, QUANTITIES[words](len(among), k), self.about(among))

    def _quantity(self, k: int) -> str:
        """Words before the number ``k``; "less than one" is a long way to say none."""
        return self.pick([words for words in QUANTITIES if words != "not" and (k > 1 or "than" not in words)])

    def compare(self) -> Made | None:
        """Are there more cubes than spheres?"""
        return self._compared("compare", lambda a, b: a > b)

    def fewer(self) -> Made | None:
        """Are there fewer cubes than spheres?"""
        return self._compared("fewer", lambda a, b: a < b)

    def same_number(self) -> Made | None:
        """Are there as many cubes as spheres?"""
        return self._compared("same number", lambda a, b: a == b)

    def _compared(self, kind: str, test: Callable[[int, int], bool]) -> Made | None:
        one, two = self.described(0.9), self.described(0.75)
        a, b = self.matches(one), self.matches(two)
        if set(a) & set(b) or one == two or (not a and not b):
            return None
        fields = {"plural": self.name(one, plural=True), "others": self.name(two, plural=True)}
        return self._yes(kind, fields, test(len(a), len(b)), self.against(a, b))

    # Whether.

    def exist(self) -> Made | None:
        """Is there a blue metal cube?"""
        return self._followed(self._exist, "follow exist", "obj")

    def _exist(self) -> Made | None:
        look = self.described()
        among = self.matches(look)
        fields = {"obj": self.name(look), "plural": self.name(look, plural=True)}
        return self._yes("exist", fields, bool(among), self.about(among))

    def every(self) -> Made | None:
        """Are all cubes red?"""
        (one, a), (two, b) = self._kind(), self._kind()
        group = Look() if self.chance(0.2) else Look(**{one: a})
        whole = self.matches(group)
        if not whole or (one == two and any(group)) or (len(whole) < 2 and self.chance(0.7)):
            return None
        fitting = [i for i in whole if self.value(i, two) == b]
        fields = {"plural": self.name(group, plural=True), "said": self.said(two, b, plural=True)}
        return self._yes("every", fields, fitting == whole, self.against(fitting, whole))

    def relation(self) -> Made | None:
        """Is the red cube in front of the metal sphere?"""
        relation, words = self.some_relation()
        i, j = self.several(2)
        one, two = self.named(i), self.named(j)
        if one is None or two is None:
            return None
        if self.chance(UNSEEN):
            look = self.absent()
            if look is None:
                return None
            missing = self.name(look)
            one, two = (missing, two) if self.chance(0.6) else (one, missing)
            return self._unseen("relation", {"obj": one, "other": two, "relation": words}, YES_NO)
        truth = self.holds(relation, i, j)
        fields = {"obj": one, "other": two, "relation": words}
        return None if truth is None else self._yes("relation", fields, truth, self.against([i], [j]))

    def any_relation(self) -> Made | None:
        """Is there a cube left of a sphere?"""
        relation, words = self.some_relation()
        one, two = self.described(0.9), self.described(0.95)
        a, b = self.matches(one), self.matches(two)
        truth = self.any_holds(relation, a, b)
        if truth is None or one == two:
            return None
        names = self.article(self.name(one)), self.article(self.name(two))
        fields = {"one": names[0], "two": names[1], "relation": words, "obj": self.name(one)}
        return self._yes("any relation", fields, truth, self.against(a, b))

    def same(self) -> Made | None:
        """Is the cube the same colour as the sphere?"""
        i, j = self.several(2)
        aspect = self.pick(list(ASPECTS))
        one, two = self.unique(i, (aspect,)), self.unique(j, (aspect,))
        if one is None or two is None:
            return None
        fields = {"obj": self.name(one), "other": self.name(two), "aspect": self.spelled(aspect)}
        if self.chance(UNSEEN):
            look = self.absent((aspect,))
            return self._unseen("same", {**fields, "obj": self.name(look)}, YES_NO) if look else None
        return self._yes("same", fields, self.value(i, aspect) == self.value(j, aspect), self.against([i], [j]))

    def another_same(self) -> Made | None:
        """Is there another thing of the same material as the cube?"""
        found = self._alike()
        return self._yes("another same", found[0], bool(found[1]), self.about(found[1])) if found else None

    def statement(self) -> Made | None:
        """True or false: exactly two things are red."""
        wanted = self.chance(0.5)
        ways = [
            self._exists, self._exists, self._counts, self._counts, self._all_are, self._is, self._is, self._relates,
            self._relates, self._selects, self._sames,
        ]  # fmt: skip
        make = self.pick(ways)
        found = next((c for c in (make() for _ in range(TRIES)) if c and c.truth == wanted), None)
        if found is None:
            return None
        kind, answers = ("yes statement", YES_NO) if self.chance(0.6) else ("true statement", ("true", "false"))
        return Made(kind, {"statement": found.text}, answers[0 if wanted else 1], None, found.looks, found.among)

    def _exists(self) -> Clause:
        look = self.described()
        among = self.matches(look)
        if self.chance(0.1):
            return Clause(f"there is no {self.name(look)}", not among, self.about(among))
        return Clause(f"there is {self.article(self.name(look))}", bool(among), self.about(among))

    def _counts(self) -> Clause:
        """there are exactly two red cubes; at least three things are metal"""
        look = self.described(0.85)
        among = self.matches(look)
        k = max(1, len(among) + int(self.rng.integers(-1, 2)))
        words, are = self._quantity(k), "is" if k == 1 else "are"
        truth, looks = QUANTITIES[words](len(among), k), self.about(among)
        amount = f"{words} {number_word(k)}"
        if look.said == 1 and self.chance(0.5):
            aspect, value = next((aspect, value) for aspect, value in look._asdict().items() if value)
            said = self.said(aspect, value, plural=k != 1)
            return Clause(f"{amount} {self.name(Look(), plural=k != 1)} {are} {said}", truth, looks)
        return Clause(f"there {are} {amount} {self.name(look, plural=k != 1)}", truth, looks)

    def _all_are(self) -> Clause | None:
        """all cubes are red; no sphere is made of metal"""
        made = self.every()
        if made is None:
            return None
        (_, fitting), (_, whole) = made.looks
        plural, said = made.fields["plural"], made.fields["said"]
        if self.chance(0.4):
            return Clause(f"no {plural} are {said}", not fitting, self.about(fitting))
        text = self.pick(("all {} are {}", "all the {} are {}", "all of the {} are {}"))
        return Clause(text.format(plural, said), len(fitting) == len(whole), made.looks)

    def _is(self) -> Clause | None:
        made = self.is_it()
        if made is None or made.guess is not None:
            return None
        return Clause(f"the {made.fields['obj']} is {made.fields['said']}", made.answer == "yes", made.looks)

    def _relates(self) -> Clause | None:
        """the red cube is behind the sphere; a cube is left of a metal thing"""
        if len(self.things) < 2:
            return None
        if self.chance(0.5):
            made = self.any_relation()
            if made is None:
                return None
            text = "{one} is {relation} {two}".format(**made.fields)
            return Clause(text, made.answer == "yes", made.looks)
        made = self.relation()
        if made is None or made.guess is not None:
            return None
        text = "the {obj} is {relation} the {other}".format(**made.fields)
        return Clause(text, made.answer == "yes", made.looks)

    def _selects(self) -> Clause | None:
        """the nearest thing is a cube; the leftmost cube is red"""
        aspect = self.pick(list(ASPECTS))
        found = self._chosen(aspect)
        if found is None:
            return None
        i, among, subject = found
        right = self.value(i, aspect)
        value = right if self.chance(0.5) else self.value(self.pick(among), aspect)
        text = f"the {subject} is {self.said(aspect, value)}"
        return Clause(text, value == right, self.about([i]), tuple(among))

    def _sames(self) -> Clause | None:
        """the cube has the same colour as the sphere"""
        made = self.same() if len(self.things) > 1 else None
        if made is None or made.guess is not None:
            return None
        text = self.pick(
            ("the {obj} has the same {aspect} as the {other}", "the {obj} and the {other} have the same {aspect}")
        )
        return Clause(text.format(**made.fields), made.answer == "yes", made.looks)

    # One of several.

    def attribute_beside(self) -> Made | None:
        """What colour is the thing left of the red cube?"""
        j, aspect = self.pick(self.all), self.pick(list(ASPECTS))
        name = self.named(j)
        relation, words = self.some_relation()
        look = Look() if self.chance(0.35) else self.part(self.pick(self.all), (aspect,))
        among = [k for k in self.matches(look) if k != j]
        there = self.beside(relation, among, j)
        if name is None or there is None:
            return None
        fields = {"aspect": self.spelled(aspect), "wanted": self.name(look), "relation": words, "other": name}
        if not there:
            guesses = [self.value(k, aspect) for k in self.all]
            return self._unseen("attribute beside", fields, guesses) if self.chance(RARE) else None
        if len(there) > 1:
            return None
        answer = self.value(there[0], aspect)
        return Made("attribute beside", fields, answer, None, self.about(there), tuple(among))

    def attribute_extreme(self) -> Made | None:
        """What material is the nearest cube?"""
        aspect = self.pick(list(ASPECTS))
        if self.chance(RARE):
            look = self.absent((aspect,))
            if look is None:
                return None
            extreme = self.pick(self.pick(list(EXTREMES.values()))[0])
            fields = {"aspect": self.spelled(aspect), "obj": f"{extreme} {self.name(look)}"}
            return self._unseen("attribute extreme", fields, [self.value(i, aspect) for i in self.all])
        found = self._chosen(aspect)
        if found is None:
            return None
        i, among, subject = found
        fields = {"aspect": self.spelled(aspect), "obj": subject}
        return Made("attribute extreme", fields, self.value(i, aspect), None, self.about([i]), tuple(among))

    def _chosen(self, aspect: str) -> tuple[int, list[int], str] | None:
        """A thing that stands out among some, those, and what it is called without this aspect."""
        extreme = self.pick([name for name in EXTREMES if aspect != "size" or name not in SIZES])
        look = Look() if self.chance(0.5) else self.part(self.pick(self.all), (aspect,))
        among = self.matches(look)
        i = self.standing_out(extreme, among)
        return None if i is None else (i, among, f"{self.pick(EXTREMES[extreme][0])} {self.name(look)}")

    def extreme(self) -> Made | None:
        """Which thing is the nearest?"""
        extreme = self.pick(list(EXTREMES))
        look = Look() if self.chance(0.5) else self.part(self.pick(self.all), ("shape",))
        among = self.matches(look)
        i = self.standing_out(extreme, among)
        if i is None:
            return None
        fields = {"extreme": self.pick(EXTREMES[extreme][0]), "wanted": self.name(look)}
        return Made("extreme", fields, self.value(i, "shape"), None, self.about([i]), tuple(among))

    def attribute_same(self) -> Made | None:
        """What colour is the other thing that has the same shape as the cube?"""
        i = self.pick(self.all)
        by, aspect = (str(name) for name in self.rng.permutation(list(ASPECTS))[:2])
        name = self.named(i)
        look = Look() if self.chance(0.6) else self.part(self.pick(self.all), (aspect, by))
        among = [k for k in self.matches(look) if k != i]
        others = [k for k in among if self.value(k, by) == self.value(i, by)]
        if name is None:
            return None
        fields = {"aspect": self.spelled(aspect), "wanted": self.name(look), "same": self.spelled(by), "obj": name}
        if not others:
            guesses = [self.value(k, aspect) for k in self.all]
            return self._unseen("attribute same", fields, guesses) if self.chance(RARE) else None
        if len(others) > 1:
            return None
        answer = self.value(others[0], aspect)
        return Made("attribute same", fields, answer, None, self.about(others), tuple(among))

    def what_beside(self) -> Made | None:
        """What is behind the cube?"""
        i = self.pick(self.all)
        name = self.named(i)
        relation, words = self.some_relation()
        there = self.beside(relation, self.all, i)
        if name is None or there is None:
            return None
        fields = {"other": name, "relation": words}
        if not there:
            guesses = [self._short(k) for k in self.all if k != i]
            return self._unseen("beside", fields, guesses) if self.chance(RARE) else None
        return Made("beside", fields, self._short(there[0]), None, self.about(there)) if len(there) == 1 else None

    def closest(self) -> Made | None:
        """Which thing is closest to the cube?"""
        i = self.pick(self.all)
        name = self.named(i)
        near = sorted((self.distance(i, k), k) for k in self.all if k != i)
        if name is None or len(near) < 2 or near[1][0] < 1.3 * near[0][0]:
            return None
        among = tuple(k for _, k in near)
        return Made("closest", {"other": name}, self._short(near[0][1]), None, self.about([near[0][1]]), among)

    def which_of_two(self) -> Made | None:
        """Which is nearer, the cube or the sphere?"""
        extreme = self.pick(list(EXTREMES))
        i, j = self.several(2)
        one, two = (self.unique(k, ("size",)) for k in (i, j))
        if one is None or two is None:
            return None
        names = [self.name(one), self.name(two)]
        fields = {"comparative": self.pick(EXTREMES[extreme][1]), "obj": names[0], "other": names[1]}
        if self.chance(UNSEEN):
            look = self.absent(("size",))
            if look is None:
                return None
            missing = self.pick(("obj", "other"))
            fields[missing] = self.name(look)
            return self._unseen("which of two", fields, (fields["obj"], fields["other"]))
        more = self.exceeds(extreme, i, j)
        if more is None:
            return None
        return Made("which of two", fields, names[0 if more else 1], None, self.about([i if more else j]), (i, j))

    def most(self) -> Made | None:
        """Which colour is the most common?"""
        aspect, kind = self.pick((("colour", "most colour"), ("shape", "most shape")))
        values = [self.value(i, aspect) for i in self.all]
        ranked = sorted(((values.count(v), v) for v in set(values)), reverse=True)
        if len(ranked) < 2 or ranked[0][0] == ranked[1][0]:
            return None
        among = [i for i in self.all if values[i] == ranked[0][1]]
        return Made(kind, {}, ranked[0][1], None, self.about(among), tuple(self.all))

    # The whole picture.

    def medium(self) -> Made:
        """What kind of picture is this?"""
        return Made("medium", {}, MEDIUM)

    def colours(self) -> Made | None:
        """Which colours are there? From left to right, each where it first occurs."""
        return self._list("colours", "colour")

    def shapes(self) -> Made | None:
        """Which kinds of shapes are there?"""
        return self._list("kinds", "shape")

    def _list(self, kind: str, aspect: str) -> Made | None:
        order = sorted(self.all, key=self._from_left)
        names = list(dict.fromkeys(self.value(i, aspect) for i in order))
        if len(names) > LISTED:
            return None
        groups = [[i for i in self.all if self.value(i, aspect) == name] for name in names]
        text, looks = self._series(names, groups)
        return Made(kind, {}, text, None, looks)

    def describe(self) -> Made | None:
        """Describe the picture: up to four things from left to right, of more their number and the nearest."""
        order = sorted(self.all, key=self._from_left)
        if len(order) <= LISTED:
            text, looks = self._series([self.article(self._long(i)) for i in order], [[i] for i in order])
            return Made("describe", {}, text, None, looks)
        nearest = self.standing_out("front", order)
        if nearest is None:
            return None
        lead = f"{number_word(len(order))} solids, the nearest "
        looks = ((0, tuple(self.all)), (len(lead), (nearest,)))
        return Made("describe", {}, lead + self.article(self._long(nearest)), None, looks)

    def what(self) -> Made | None:
        """What is in the picture? The colours and shapes, in any order: the eye may begin anywhere."""
        order = self.several(len(self.things))
        if len(order) > LISTED:
            return None
        text, looks = self._series([self._short(i) for i in order], [[i] for i in order])
        return Made("what", {}, text, None, looks)

    def _short(self, i: int) -> str:
        return f"{self.value(i, 'colour')} {self.value(i, 'shape')}"

    def _long(self, i: int) -> str:
        return " ".join(str(value) for value in self.looks[i])

    def _from_left(self, i: int) -> float:
        return self.things[i].centre[0]

    def _series(self, names: Sequence[str], groups: Sequence[Sequence[int]]) -> tuple[str, Looks]:
        """The names one after the other, each about its things."""
        text, looks = "", []
        for place, (name, group) in enumerate(zip(names, groups, strict=True)):
            looks.append((len(text), tuple(group)))
            rest = len(names) - 1 - place
            text += name + (", " if rest > 1 else " and " if rest else "")
        return text, tuple(looks)
