"""Scene questions: what can be asked of coloured shapes, with true answers from their outlines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlm_demo.synthetic.world import COLOURS, SHAPES, UNKNOWN, ZONES, Picture, Thing, number_word, zone

# From which character of the answer on it is about which things (indices into the picture's).
Looks = tuple[tuple[int, tuple[int, ...]], ...]
# kind, fields of the phrasing, answer, guess if unanswerable, looks
Made = tuple[str, dict[str, str], str, str | None, Looks]
Clause = tuple[str, bool, list[int] | None]
Maker = Callable[[], Made | None]
Look = tuple[str | None, str | None]  # shape and colour, None = any

ANY = ("shape", "object", "thing")
FAINT = 0.35  # a thing that shows less of itself than this is neither surely there nor surely absent
RELATIONS = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "under", "lower than"),
}
EXTREMES = {
    "largest": ("largest", "biggest"),
    "smallest": ("smallest", "tiniest"),
    "leftmost": ("leftmost", "left-most"),
    "rightmost": ("rightmost", "right-most"),
    "top": ("topmost", "highest", "uppermost", "top"),
    "bottom": ("lowest", "bottom", "lowermost", "bottommost"),
}


class SceneAsker:
    """Makes questions about one scene; every method returns one question, or None if it does not fit the scene.

    ``wide`` adds relations, extremes, comparisons and compound statements.
    """

    def __init__(self, picture: Picture, rng: np.random.Generator, wide: bool = False) -> None:
        self.picture, self.rng, self.wide = picture, rng, wide
        self.numbers = [i for i, t in enumerate(picture.things) if t.visible > 0.05]
        self.things = [picture.things[i] for i in self.numbers]
        self.clear = all(t.visible >= FAINT for t in self.things)
        self.side = max(picture.image.size)

    def makers(self) -> list[tuple[float, Maker]]:
        """Every kind with its weight."""
        if not self.things:
            return [(1.0, self.count), (1.0, self.exist)]
        makers: list[tuple[float, Maker]] = [
            (2.0, self.colour), (1.6, self.shape), (2.4, self.count), (2.0, self.exist), (1.4, self.where),
            (1.6, self.statement), (1.0, self.describe), (0.4, self.what), (0.25, self.background), (0.06, self.medium),
        ]  # fmt: skip
        if self.wide:
            makers += [(1.2, self.relation), (1.2, self.extreme), (0.5, self.compare)]
        if len(self.things) == 1:
            makers.append((1.0, self.only))
        return makers

    # --- words -------------------------------------------------------------------------------------------------

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
        return "arrow", None

    def seen_colour(self) -> str:
        """A plausible colour to guess."""
        return self.pick(self.things).colour

    # --- kinds -------------------------------------------------------------------------------------------------

    def colour(self) -> Made | None:
        """What colour is the star?"""
        if self.rng.random() < 0.22:
            shape = self.pick(SHAPES)
            if self.matches(shape, None):
                return None
            return "colour", {"obj": shape}, UNKNOWN, self.seen_colour(), self.about([])
        i = int(self.rng.integers(len(self.things)))
        thing = self.things[i]
        fitting = self.matches(thing.shape, None)
        if not self.clear or len({self.things[k].colour for k in fitting}) > 1:
            return None
        return "colour", {"obj": thing.shape}, thing.colour, None, self.about(fitting)

    def shape(self) -> Made | None:
        """What shape is red?"""
        if self.rng.random() < 0.22:
            colour = self.pick(list(COLOURS))
            if self.matches(None, colour):
                return None
            return "shape", {"tint": colour}, UNKNOWN, self.pick(self.things).shape, self.about([])
        i = int(self.rng.integers(len(self.things)))
        thing = self.things[i]
        fitting = self.matches(None, thing.colour)
        if not self.clear or len({self.things[k].shape for k in fitting}) > 1:
            return None
        tint = self.pick(("gray", "grey")) if thing.colour == "gray" else thing.colour
        return "shape", {"tint": tint}, thing.shape, None, self.about(fitting)

    def only(self) -> Made:
        """What shape is this? (one thing in the picture)"""
        return "only", {}, self.things[0].shape, None, self.about([0])

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
        return "count", {"plural": plural}, number_word(len(among)), None, self.about(among)

    def exist(self) -> Made | None:
        """Is there a blue star?"""
        if self.things and self.rng.random() < 0.5:
            i = int(self.rng.integers(len(self.things)))
            t = self.things[i]
            shape, colour = self.pick([(t.shape, t.colour), (t.shape, t.colour), (t.shape, None), (None, t.colour)])
            if t.visible < FAINT:
                return None
            return "exist", self._both(shape, colour), "yes", None, self.about(self.matches(shape, colour))
        shape, colour = self.absent()
        return "exist", self._both(shape, colour), "no", None, self.about([])

    def _both(self, shape: str | None, colour: str | None) -> dict[str, str]:
        return {"obj": self.name(shape, colour), "plural": self.name(shape, colour, plural=True)}

    def where(self) -> Made | None:
        """Where is the triangle?"""
        if self.rng.random() < 0.18:
            guess = self.pick([place for row in ZONES for place in row])
            return "where", {"obj": self.name(*self.absent())}, UNKNOWN, guess, self.about([])
        i = int(self.rng.integers(len(self.things)))
        name, place = self.unique(i), zone(self.things[i], self.picture.image.size)
        if name is None or place is None or not self.clear:
            return None
        return "where", {"obj": name}, place, None, self.about([i])

    def holds(self, relation: str, a: Thing, b: Thing) -> bool | None:
        """Whether a is left of (…) b by their middles; None if it is too close to call."""
        axis = 0 if relation in ("left", "right") else 1
        gap = (b.centre[axis] - a.centre[axis]) / self.side
        if abs(gap) < 0.03:
            return None
        return (gap > 0) == (relation in ("left", "above"))

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
            return "relation", fields, UNKNOWN, self.pick(("yes", "no")), ()
        i, j = (int(k) for k in self.rng.choice(len(self.things), 2, replace=False))
        a, b = self.unique(i), self.unique(j)
        truth = self.holds(relation, self.things[i], self.things[j])
        if a is None or b is None or truth is None or not self.clear:
            return None
        return "relation", {"obj": a, "other": b, "relation": words}, "yes" if truth else "no", None, self.about([i, j])

    def _extreme(self, extreme: str, among: list[int]) -> int | None:
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

    def extreme(self) -> Made | None:
        """Which shape is the largest? What colour is the leftmost circle?"""
        extreme = self.pick(list(EXTREMES))
        words = self.pick(EXTREMES[extreme])
        wanted, among = self.pick(ANY), list(range(len(self.things)))
        if self.rng.random() < 0.5:
            if self.rng.random() < 0.35:
                wanted = self.pick(self.things).shape
                among = self.matches(wanted, None)
            i = self._extreme(extreme, among)
            if i is None:
                return None
            return "extreme colour", {"extreme": words, "wanted": wanted}, self.things[i].colour, None, self.about([i])
        i = self._extreme(extreme, among)
        if i is None:
            return None
        return "extreme", {"extreme": words, "wanted": wanted}, self.things[i].shape, None, self.about([i])

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
        return "compare", fields, answer, None, ()

    def background(self) -> Made | None:
        """What colour is the background?"""
        name = self.picture.facts["background"]
        if name is None or self.picture.facts["groups"]:
            return None
        return "background", {}, str(name), None, ()

    def medium(self) -> Made:
        """What kind of picture is this?"""
        return "medium", {}, "drawing", None, ()

    def _article(self, name: str) -> str:
        return ("an " if name[0] in "aeiou" else "a ") + name

    def _listed(self, i: int) -> str:
        return f"{self.things[i].colour} {self.things[i].shape}"

    def describe(self) -> Made | None:
        """Describe the picture: up to four things from left to right, of more the largest."""
        return self._told("describe", self._article)

    def what(self) -> Made | None:
        """What is in the picture? The same, without articles."""
        return self._told("what", str)

    def _told(self, kind: str, named: Callable[[str], str]) -> Made | None:
        if not self.clear:
            return None
        order = sorted(range(len(self.things)), key=lambda i: self.things[i].centre[0])
        if len(order) <= 4:
            text, looks = self._series(order, "", named)
            return kind, {}, text, None, looks
        largest = self._extreme("largest", order)
        whole, lead = (0, tuple(self.numbers)), "many shapes, the largest "
        if largest is None:
            return kind, {}, "many shapes", None, (whole,)
        text, looks = self._series([largest], lead, self._article)
        return kind, {}, text, None, (whole, *looks)

    def _series(self, order: list[int], text: str, named: Callable[[str], str]) -> tuple[str, Looks]:
        """``text`` and the names of the things one after the other; each name is about its thing."""
        looks = []
        for place, i in enumerate(order):
            looks.append((len(text), (self.numbers[i],)))
            rest = len(order) - 1 - place
            text += named(self._listed(i)) + (", " if rest > 1 else " and " if rest else "")
        return text, tuple(looks)

    # --- statements --------------------------------------------------------------------------------------------

    def statement(self) -> Made | None:
        """True or false: exactly two shapes are red."""
        made = self.clause()
        if made is None:
            return None
        text, truth, among = made
        if self.wide and self.rng.random() < 0.15:
            other = self.clause()
            if other is not None:
                both = self.rng.random() < 0.5
                text = f"{text} {'and' if both else 'or'} {other[0]}"
                truth = (truth and other[1]) if both else (truth or other[1])
                among = None
        looks = () if among is None else self.about(among)
        if self.rng.random() < 0.6:
            return "yes statement", {"statement": text}, "yes" if truth else "no", None, looks
        return "true statement", {"statement": text}, "true" if truth else "false", None, looks

    def clause(self) -> Clause | None:
        """A clause, whether it is true here, and the things that it is about if that can be said."""
        if not self.clear:
            return None
        clauses = [self._exists, self._exists, self._counts]
        return self.pick([*clauses, self._relates, self._selects, self._same] if self.wide else clauses)()

    def _exists(self) -> Clause:
        truth = bool(self.rng.random() < 0.5)
        t = self.pick(self.things)
        ways = [(t.shape, t.colour), (t.shape, None), (None, t.colour)]
        shape, colour = self.pick(ways) if truth else self.absent()
        among = self.matches(shape, colour)
        name = self._article(self.name(shape, colour))
        if shape and colour and self.rng.random() < 0.4:
            return f"{self._article(shape)} is {colour}", truth, among
        if shape and self.rng.random() < 0.35:
            return f"a shape is {name}", truth, among
        if colour and not shape and self.rng.random() < 0.5:
            return f"{self._article(self.pick(ANY))} is {colour}", truth, among
        return f"there is {name}", truth, among

    def _counts(self) -> Clause:
        t = self.pick(self.things)
        anything, shape, colour = (None, None), (t.shape, None), (None, t.colour)
        one, two = self.pick([(anything, shape), (anything, colour), (shape, colour), (colour, shape)])
        if self.rng.random() < 0.2:
            two = (self.pick(SHAPES), None) if one[0] is None else (None, self.pick(list(COLOURS)))
        among = self.matches(one[0] or two[0], one[1] or two[1])
        n = len(among)
        whole = len(self.matches(*one))
        quantity, test = self.pick(
            [
                ("exactly {}", lambda k: n == k),
                ("exactly {}", lambda k: n == k),
                ("at least {}", lambda k: n >= k),
                ("at most {}", lambda k: n <= k),
                ("more than {}", lambda k: n > k),
                ("less than {}", lambda k: n < k),
                ("all", None),
                ("no", None),
            ]
        )
        k = max(0, n + int(self.rng.integers(-1, 2)))
        group = self.name(*one, plural=True)
        predicate = self.name(two[0], None, plural=True) if two[0] else str(two[1])
        if quantity == "all":
            return f"all {group} are {predicate}", n == whole, self.matches(*one)
        if quantity == "no":
            return f"no {group} are {predicate}", n == 0, among
        if self.rng.random() < 0.25:
            named = self.name(one[0] or two[0], one[1] or two[1], plural=True)
            return f"there are {quantity.format(number_word(k))} {named}", test(k), among
        verb = "is" if k == 1 else "are"
        group = self.name(*one, plural=k != 1)
        predicate = self._article(self.name(two[0], None)) if two[0] and k == 1 else predicate
        return f"{quantity.format(number_word(k))} {group} {verb} {predicate}", test(k), among

    def _relates(self) -> Clause | None:
        if len(self.things) < 2:
            return None
        relation = self.pick(list(RELATIONS))
        i, j = (int(k) for k in self.rng.choice(len(self.things), 2, replace=False))
        a, b = self.things[i], self.things[j]
        one = self.pick([(a.shape, a.colour), (a.shape, None), (None, a.colour)])
        two = self.pick([(b.shape, b.colour), (b.shape, None), (None, b.colour)])
        held = [
            self.holds(relation, self.things[x], self.things[y])
            for x in self.matches(*one)
            for y in self.matches(*two)
            if x != y
        ]
        if None in held:
            return None
        names = self._article(self.name(*one)), self._article(self.name(*two))
        return f"{names[0]} is {self.pick(RELATIONS[relation])} {names[1]}", any(held), None

    def _selects(self) -> Clause | None:
        extreme = self.pick(list(EXTREMES))
        t = self.pick(self.things)
        shape, colour = self.pick([(None, None), (t.shape, None), (None, t.colour)])
        i = self._extreme(extreme, self.matches(shape, colour))
        if i is None:
            return None
        chosen, other = self.things[i], self.pick(self.things)
        if shape is None and (colour is not None or self.rng.random() < 0.5):
            said = chosen.shape if self.rng.random() < 0.5 else self.pick([other.shape, self.pick(SHAPES)])
            text, truth = self._article(said), said == chosen.shape
        else:
            text = chosen.colour if self.rng.random() < 0.5 else self.pick([other.colour, self.pick(list(COLOURS))])
            truth = text == chosen.colour
        return f"the {self.pick(EXTREMES[extreme])} {self.name(shape, colour)} is {text}", truth, [i]

    def _same(self) -> Clause | None:
        if len(self.things) < 2:
            return None
        i, j = (int(k) for k in self.rng.choice(len(self.things), 2, replace=False))
        a, b = self.unique(i), self.unique(j)
        if a is None or b is None:
            return None
        by = self.pick(("shape", "color", "colour"))
        one, two = self.things[i], self.things[j]
        same = one.shape == two.shape if by == "shape" else one.colour == two.colour
        said = self.rng.random() < 0.6
        words = f"the same {by} as" if said else f"a different {by} from"
        linking = "is" if self.rng.random() < 0.7 else "has"
        return f"the {a} {linking} {words} the {b}", same == said, [i, j]
