"""Scene statements: clauses that are true or false of a scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlm_demo.training.worlds.asking import Looks
from vlm_demo.training.worlds.scene_facts import ANY, EXTREMES, Look, SceneFacts
from vlm_demo.training.worlds.world import COLOURS, SHAPES, number_word


@dataclass(frozen=True)
class Clause:
    """A clause, whether it is true, and what it is about as in `asking.Made`."""

    text: str
    truth: bool
    looks: Looks = ()
    among: tuple[int, ...] | None = None


SHARES = {
    "half": (1, 2),
    "a third": (1, 3),
    "two thirds": (2, 3),
    "a quarter": (1, 4),
    "three quarters": (3, 4),
}
QUANTITIES: dict[str, Callable[[float, float], bool]] = {
    "exactly": lambda n, k: n == k,
    "at least": lambda n, k: n >= k,
    "at most": lambda n, k: n <= k,
    "more than": lambda n, k: n > k,
    "less than": lambda n, k: n < k,
    "fewer than": lambda n, k: n < k,
    "not": lambda n, k: n != k,
}


class SceneStatements(SceneFacts):
    """Makes clauses about one scene."""

    def clause(self, wanted: bool) -> Clause | None:
        """A clause that is true or not as ``wanted``, if one is soon found."""
        if not self.clear or not self.things:
            return None
        ways: list[Callable[[], Clause | None]] = [
            self._exists, self._exists, self._exists, self._counts, self._counts, self._of_all, self._of_all,
            self._relates, self._relates, self._compares, self._selects, self._selects, self._chooses, self._same,
            self._is, self._closer,
        ]  # fmt: skip
        if self.boxes:
            ways = [self._exists, self._counts, self._of_all, self._selects, *[self._boxed] * 6, self._touches]
        make = self.pick(ways)
        for _ in range(8):
            found = make()
            if found and found.truth == wanted:
                return found
        return None

    def compound(self, wanted: bool) -> Clause | None:
        """Two clauses joined by and, or, either … or, if … then."""
        first, second = self.chance(0.5), self.chance(0.5)
        joined, truth = self.pick(
            [
                ("{} and {}", first and second),
                ("{} and {}", first and second),
                ("{} or {}", first or second),
                ("{} or {}", first or second),
                ("either {} or {}", first != second),
                ("if {}, then {}", second or not first),
                ("{}, but not {}", first and not second),
            ]
        )
        if truth != wanted:
            return None
        one, two = self.clause(first), self.clause(second)
        if one is None or two is None or one.text == two.text:
            return None
        if "not" in joined:
            two = self._exists(plain=True)
            if two.truth != second:
                return None
            return Clause(f"{one.text}, but {two.text.replace('there is', 'there is not', 1)}", truth)
        return Clause(joined.format(one.text, two.text), truth)

    def _exists(self, plain: bool = False) -> Clause:
        look = self.described()
        among = self.matches(look)
        truth, looks = bool(among), self.about(among)
        name = self.article(self.name(look))
        if plain:
            return Clause(f"there is {name}", truth, looks)
        if self.chance(0.08):
            return Clause(f"there is no {self.name(look)}", not truth, looks)
        if look.shape and look.colour and not look.trait and self.chance(0.5):
            said = self.pick((look.colour, self.article(f"{look.colour} {self.pick(ANY)}")))
            return Clause(f"{self.article(look.shape)} is {said}", truth, looks)
        if look.shape and look.colour and self.chance(0.3):
            whole = self.article(self.name(Look(None, look.colour, look.trait)))
            return Clause(f"{whole} is {self.article(look.shape)}", truth, looks)
        if look.shape and self.chance(0.4):
            return Clause(f"{self.article(self.pick(ANY))} is {name}", truth, looks)
        if look.colour and not look.shape and not look.trait and self.chance(0.5):
            return Clause(f"{self.article(self.pick(ANY))} is {look.colour}", truth, looks)
        return Clause(f"there is {name}", truth, looks)

    def _parts(self) -> tuple[Look, Look, Look]:
        """Some things, what is said of them, and both together."""
        t = self.pick(self.things)
        shape, colour, both = Look(t.shape), Look(None, t.colour), Look(t.shape, t.colour)
        group, said = self.pick(
            [(Look(), shape), (Look(), colour), (Look(), both), (shape, colour), (colour, shape), (shape, colour)]
        )
        if self.chance(0.25):
            said = Look(self.pick(SHAPES)) if said.shape else Look(None, self.pick(list(COLOURS)))
        return group, said, Look(group.shape or said.shape, group.colour or said.colour)

    def _said(self, look: Look, plural: bool) -> str:
        """The look as a predicate: "red", "circles", "a red circle"."""
        if look.shape is None:
            return str(look.colour)
        name = self.name(look, plural=plural)
        return name if plural else self.article(name)

    def _counts(self) -> Clause:
        """exactly two shapes are red; there are at least three circles"""
        group, said, both = self._parts()
        if not self.matches(group):
            group, said = Look(), both
        among = self.matches(both)
        k = max(1, len(among) + int(self.rng.integers(-1, 2)))
        words = self.quantity(k)
        truth = QUANTITIES[words](len(among), k)
        amount = f"{words} {self._number(k)}"
        if words != "not" and self.chance(0.3):
            name = self.name(both, plural=k != 1)
            return Clause(f"there {'is' if k == 1 else 'are'} {amount} {name}", truth, self.about(among))
        whole = len(self.matches(group))
        if whole > 1 and k <= whole and words != "not" and self.chance(0.3):
            subject = f"{amount} of the {self.pick((number_word(whole) + ' ', ''))}{self.name(group, plural=True)}"
            text = f"{subject} {'is' if k == 1 else 'are'} {self._said(said, k != 1)}"
        else:
            text = f"{amount} {self.name(group, plural=k != 1)} {'is' if k == 1 else 'are'} {self._said(said, k != 1)}"
        return Clause(text, truth, self.about(among))

    def quantity(self, k: int) -> str:
        """Words before the number ``k``; "less than one" is a long way to say none, and "not one" means it."""
        return self.pick([words for words in QUANTITIES if k > 1 or words not in ("not", "less than", "fewer than")])

    def _number(self, n: int) -> str:
        return str(n) if self.chance(0.12) else number_word(n)

    def _of_all(self) -> Clause | None:
        """all circles are red; most shapes are circles; at least half of the squares are blue"""
        group, said, both = self._parts()
        whole, fitting = self.matches(group), self.matches(both)
        if not whole:
            return None
        n, m = len(fitting), len(whole)
        looks = self.against(fitting, whole)
        plural, predicate = self.name(group, plural=True), self._said(said, True)
        style = self.rng.random()
        if style < 0.3:
            text = self.pick(("all {} are {}", "all of the {} are {}", "every {} is {}", "all the {} are {}"))
            if text.startswith("every"):
                plural, predicate = self.name(group), self._said(said, False)
            return Clause(text.format(plural, predicate), n == m, looks)
        if style < 0.5:
            text = self.pick(("no {} are {}", "none of the {} are {}", "no {} is {}", "not one {} is {}"))
            if text.endswith("is {}"):
                plural, predicate = self.name(group), self._said(said, False)
            return Clause(text.format(plural, predicate), n == 0, self.about(fitting))
        if style < 0.58:
            return Clause(f"not all {plural} are {predicate}", n != m, looks)
        if style < 0.72:
            text = self.pick(("most {} are {}", "most of the {} are {}", "more than half of the {} are {}"))
            return Clause(text.format(plural, predicate), 2 * n > m, looks)
        words, share = self.pick(list(QUANTITIES)), self.pick(list(SHARES))
        above, below = SHARES[share]
        subject = f"{words} {share} {'' if share == 'half' and self.chance(0.3) else 'of '}the {plural}"
        return Clause(f"{subject} are {predicate}", QUANTITIES[words](n * below, m * above), looks)

    def _pair(self) -> tuple[Look, Look]:
        """Two descriptions, mostly of different things that are there."""
        i, j = (self.several(2) * 2)[:2]
        one, two = self.pick(self.ways(i)), self.pick(self.ways(j))
        return (self.absent(), two) if self.chance(0.06) else (one, two)

    def _named(self, look: Look) -> str:
        """With "the" where just one thing fits, else with "a"."""
        name = self.name(look)
        return f"the {name}" if len(self.matches(look)) == 1 and self.chance(0.4) else self.article(name)

    def _relates(self) -> Clause | None:
        """a red circle is above the square"""
        relation, words = self.some_relation()
        one, two = self._pair()
        truth = self.any_holds(relation, one, two)
        if truth is None or len(self.things) < 2:
            return None
        denied = self.chance(0.08) and len(self.matches(one)) == len(self.matches(two)) == 1
        text = f"{self._named(one)} is {'not ' if denied else ''}{words} {self._named(two)}"
        return Clause(text, truth != denied, self.against(self.matches(one), self.matches(two)))

    def _compares(self) -> Clause | None:
        """the red circle is bigger than a square"""
        extreme = self.pick(list(EXTREMES))
        one, two = self._pair()
        pairs = [(i, j) for i in self.matches(one) for j in self.matches(two) if i != j]
        answers = [self.exceeds(extreme, i, j) for i, j in pairs]
        if not pairs or (True not in answers and None in answers):
            return None
        text = f"{self._named(one)} is {self.pick(EXTREMES[extreme][1])} than {self._named(two)}"
        return Clause(text, True in answers, self.against(self.matches(one), self.matches(two)))

    def _selects(self) -> Clause | None:
        """the largest shape is red; the left-most circle is blue"""
        extreme = self.pick(list(EXTREMES))
        t = self.pick(self.things)
        look = self.pick([Look(), Look(), Look(t.shape), Look(None, t.colour)])
        among = self.matches(look)
        i = self.standing_out(extreme, among)
        return self._told(i, f"the {self.pick(EXTREMES[extreme][0])} {self.name(look)}", look, among)

    def _chooses(self) -> Clause | None:
        """of two: the left circle is red; the bigger red shape is a square"""
        extreme = self.pick(list(EXTREMES))
        t = self.pick(self.things)
        look = self.pick([Look(t.shape), Look(None, t.colour)])
        among = self.matches(look)
        if len(among) != 2:
            return None
        words = {"leftmost": ("left",), "rightmost": ("right",), "top": ("upper", "higher"), "bottom": ("lower",)}
        word = self.pick(words.get(extreme, EXTREMES[extreme][1]))
        return self._told(self.standing_out(extreme, among), f"the {word} {self.name(look)}", look, among)

    def _told(self, i: int | None, subject: str, look: Look, among: Sequence[int]) -> Clause | None:
        """Something, true or false, that is not yet said, of thing i, named by ``subject``."""
        if i is None:
            return None
        chosen, other = self.things[i], self.pick(self.things)
        by_shape = look.colour is not None or (look.shape is None and self.chance(0.5))
        right = chosen.shape if by_shape else chosen.colour
        wrong = self.pick([other.shape, self.pick(SHAPES)] if by_shape else [other.colour, self.pick(list(COLOURS))])
        said = right if self.chance(0.5) else wrong
        predicate = self.article(said) if by_shape else said
        denied = self.chance(0.06)
        text = f"{subject} is {'not ' if denied else ''}{predicate}"
        return Clause(text, (said == right) != denied, self.about([i]), tuple(self.numbers[k] for k in among))

    def _is(self) -> Clause | None:
        """the circle is red; the red shape is not a square"""
        i = self.pick(range(len(self.things)))
        t = self.things[i]
        look = self.pick([Look(t.shape), Look(None, t.colour)])
        if self.matches(look) != [i]:
            return None
        return self._told(i, f"the {self.name(look)}", look, [i])

    def _same(self) -> Clause | None:
        """the circle has the same colour as the star; a cross is a different shape from a red circle"""
        if len(self.things) < 2:
            return None
        i, j = self.several(2)
        a, b = self.unique(i), self.unique(j)
        by = self.pick(("shape", "color", "colour"))
        one, two = self.things[i], self.things[j]
        same = one.shape == two.shape if by == "shape" else one.colour == two.colour
        said = self.chance(0.6)
        if a and b:
            linking, subject, other = self.pick(("is", "is", "has")), f"the {a}", f"the {b}"
            looks = self.against([i], [j])
        else:
            looked = [self.pick(self.ways(k)) for k in (i, j)]
            values = [[(t.shape if by == "shape" else t.colour) for t in self._all(look)] for look in looked]
            pairs = [(x, y) for x in self.matches(looked[0]) for y in self.matches(looked[1]) if x != y]
            if not pairs or len(set(values[0])) > 1 or len(set(values[1])) > 1:
                return None
            same = values[0][0] == values[1][0]
            linking, subject, other = "is", *(self.article(self.name(look)) for look in looked)
            looks = self.against(self.matches(looked[0]), self.matches(looked[1]))
        words = f"the same {by} as" if said else f"a different {by} from"
        return Clause(f"{subject} {linking} {words} {other}", same == said, looks)

    def _all(self, look: Look):
        return [self.things[i] for i in self.matches(look)]

    def _closer(self) -> Clause | None:
        """the circle is closer to the star than the square"""
        if len(self.things) < 3:
            return None
        i, j, k = self.several(3)
        names = [self.unique(n) for n in (i, j, k)]
        near, far = self.distance(i, j), self.distance(k, j)
        if None in names or abs(near - far) < 0.06:
            return None
        nearer = self.chance(0.6)
        word = self.pick(("closer to", "nearer to")) if nearer else "farther from"
        text = f"the {names[0]} is {word} the {names[1]} than the {names[2]}"
        return Clause(text, (near < far) == nearer, self.against([i], [k]))

    def distance(self, i: int, j: int) -> float:
        """From middle to middle, as a share of the picture's longer side."""
        (x, y), (u, v) = self.things[i].centre, self.things[j].centre
        return float(((x - u) ** 2 + (y - v) ** 2) ** 0.5 / self.side)

    def in_boxes(self, look: Look) -> list[list[int]]:
        """For each box which of its things fit."""
        return [self.matches(look._replace(box=k)) for k in range(len(self.boxes))]

    def _boxed(self) -> Clause | None:
        """there is a box with two red squares; exactly one box has a circle; the left box has no star"""
        look = self.pick([self.described(0.8), self.pick(self.ways(self.pick(range(len(self.things))))), Look()])
        found = self.in_boxes(look)
        counts = [len(things) for things in found]
        k = max(1, self.pick(counts) + self.pick((0, 0, 1, -1)))
        style = self.rng.random()
        if style < 0.3:
            words = self.pick(("exactly", "at least", "exactly", "at most", "more than"))
            test = QUANTITIES[words]
            fitting = [n for n, count in enumerate(counts) if test(count, k)]
            amount = self._number(k) if words == "exactly" and self.chance(0.6) else f"{words} {self._number(k)}"
            lead = self.pick(("there is a box with {}", "one of the boxes has {}", "a box contains {}"))
            text = lead.format(f"{amount} {self.name(look, plural=k != 1)}")
            return Clause(text, bool(fitting), self._those(found, fitting))
        having = [n for n, count in enumerate(counts) if count]
        name = self.article(self.name(look))
        if style < 0.55:
            boxes = min(max(1, len(having) + int(self.rng.integers(-1, 2))), len(counts))
            words = self.quantity(boxes)
            verb = self.pick(("has", "contains") if boxes == 1 else ("have", "contain"))
            text = f"{words} {self._number(boxes)} box{'' if boxes == 1 else 'es'} {verb} {name}"
            return Clause(text, QUANTITIES[words](len(having), boxes), self._those(found, having))
        if style < 0.7:
            text, truth = self.pick(
                [
                    (f"every box has {name}", len(having) == len(counts)),
                    (f"each box contains {name}", len(having) == len(counts)),
                    (f"all boxes have {name}", len(having) == len(counts)),
                    (f"no box has {name}", not having),
                    (f"there is {name} in each box", len(having) == len(counts)),
                ]
            )
            return Clause(text, truth, self._those(found, having))
        box = self.pick(range(len(counts)))
        where = f"the {self.box_name(box)}"
        if style < 0.85:
            text = self.pick((f"{where} has {name}", f"there is {name} in {where}", f"{where} contains {name}"))
            return Clause(text, bool(found[box]), self.about(found[box]))
        words = self.pick(("exactly", "exactly", "at least", "at most", "more than", "less than"))
        amount = f"{words} {self._number(k)}"
        text = f"{where} {self.pick(('has', 'contains'))} {amount} {self.name(look, plural=k != 1)}"
        return Clause(text, QUANTITIES[words](counts[box], k), self.about(found[box]))

    def _those(self, found: list[list[int]], boxes: list[int]) -> Looks:
        return self.about(sorted(i for n in boxes for i in found[n]))

    def _touches(self) -> Clause | None:
        """there is a red square touching the edge"""
        touching = self.touching()
        if touching is None or not touching:
            return None
        look = self.pick(self.ways(self.pick(range(len(self.things)))))
        fitting = [i for i in self.matches(look) if i in touching]
        edge = self.pick(("the edge", "the wall", "an edge", "a wall") if self.boxes else ("the edge", "the border"))
        text = self.pick(("there is {} touching {}", "{} touches {}")).format(self.article(self.name(look)), edge)
        return Clause(text, bool(fitting), self.about(fitting))
