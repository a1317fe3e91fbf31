"""Scene statements: clauses that are true or false of a scene."""

from __future__ import annotations

from vlm_demo.synthetic.scene_facts import ANY, SceneFacts
from vlm_demo.synthetic.world import COLOURS, SHAPES, number_word

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

# A clause, whether it is true, and the things that it is about if that can be said.
Clause = tuple[str, bool, list[int] | None]


class SceneStatements(SceneFacts):
    """Makes clauses about one scene."""

    def clause(self) -> Clause | None:
        """A clause, whether it is true here, and the things that it is about if that can be said."""
        if not self.clear:
            return None
        ways = [self._exists, self._exists, self._counts, self._counts, self._relates, self._selects, self._same]
        return self.pick(ways)()

    def _exists(self) -> Clause:
        truth = bool(self.rng.random() < 0.5)
        t = self.pick(self.things)
        ways = [(t.shape, t.colour), (t.shape, None), (None, t.colour)]
        shape, colour = self.pick(ways) if truth else self.absent()
        among = self.matches(shape, colour)
        name = self.article(self.name(shape, colour))
        if shape and colour and self.rng.random() < 0.4:
            return f"{self.article(shape)} is {colour}", truth, among
        if shape and self.rng.random() < 0.35:
            return f"a shape is {name}", truth, among
        if colour and not shape and self.rng.random() < 0.5:
            return f"{self.article(self.pick(ANY))} is {colour}", truth, among
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
        predicate = self.article(self.name(two[0], None)) if two[0] and k == 1 else predicate
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
        names = self.article(self.name(*one)), self.article(self.name(*two))
        return f"{names[0]} is {self.pick(RELATIONS[relation])} {names[1]}", any(held), None

    def _selects(self) -> Clause | None:
        extreme = self.pick(list(EXTREMES))
        t = self.pick(self.things)
        shape, colour = self.pick([(None, None), (t.shape, None), (None, t.colour)])
        i = self.standing_out(extreme, self.matches(shape, colour))
        if i is None:
            return None
        chosen, other = self.things[i], self.pick(self.things)
        if shape is None and (colour is not None or self.rng.random() < 0.5):
            said = chosen.shape if self.rng.random() < 0.5 else self.pick([other.shape, self.pick(SHAPES)])
            text, truth = self.article(said), said == chosen.shape
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
