"""Common questions: attributes, counts, existence, extremes, comparisons and positions, which all areas share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vlm_demo.training.worlds.asker import Asker, Description
from vlm_demo.training.worlds.executor import QUANTITIES, Program, Table
from vlm_demo.training.worlds.question import YES_NO, Question, QuestionForm
from vlm_demo.training.worlds.world import PLACES, UNKNOWN, article, number_word, plural_of

RELATIONS = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "under", "lower than"),
}
AXES = {"left": ("x", -1), "right": ("x", 1), "above": ("y", -1), "below": ("y", 1)}
# Attribute and direction of each extreme, its superlatives and its comparatives.
EXTREMES: dict[str, tuple[str, int, tuple[str, ...], tuple[str, ...]]] = {
    "largest": ("area", 1, ("largest", "biggest"), ("larger", "bigger")),
    "smallest": ("area", -1, ("smallest", "tiniest"), ("smaller",)),
    "leftmost": ("x", -1, ("leftmost", "left-most"), ("further left", "more to the left", "farther left")),
    "rightmost": ("x", 1, ("rightmost", "right-most"), ("further right", "more to the right", "farther right")),
    "top": ("y", -1, ("topmost", "highest", "uppermost", "top"), ("higher", "higher up", "further up")),
    "bottom": ("y", 1, ("lowest", "bottom", "lowermost", "bottommost"), ("lower", "lower down", "further down")),
    "darkest": ("light", -1, ("darkest",), ("darker",)),
    "lightest": ("light", 1, ("lightest", "brightest"), ("lighter", "brighter")),
}


class CommonAsker(Asker):
    """Makes the questions that every area may use.

    Attributes:
        extremes: those of EXTREMES, or the area's own, that it asks for.
    """

    extremes: Mapping[str, tuple[str, int, tuple[str, ...], tuple[str, ...]]] = EXTREMES

    # What one thing is like.

    def colour(self) -> Question | None:
        """What colour is the star?"""
        target = self.absent() if self.chance(0.15) else self.described(1.0)
        target.pop("colour", None)
        guesses = [row["colour"] for row in self.rows if row["colour"]]
        if not target:
            return None
        return self.build("colour", self.names(target), (("filter", target), ("query", "colour")), guesses)

    def values(self, attribute: str) -> list[str]:
        """The values that occur, and one that need not."""
        found = [value for row in self.rows if (value := row.get(attribute)) is not None]
        return [*found, self.pick(self.vocabulary[attribute])] if attribute in self.vocabulary else found

    def where(self) -> Question | None:
        """Where is the triangle?"""
        target = self.absent() if self.chance(0.15) or not self.rows else self.unique(self.pick(range(len(self.rows))))
        if target is None:
            return None
        program = (("filter", target), ("unique",), ("query", "zone"))
        return self.build("where", {"obj": self.name(target)}, program, PLACES)

    def is_it(self) -> Question | None:
        """Is the circle red? Is the red thing a square?"""
        attribute = self.pick([name for name in (self.noun, "colour") if name in self.vocabulary])
        target = self.absent() if self.chance(0.15) else self.described(1.0)
        right = target.pop(attribute, None)
        if not target:
            return None
        value = right if right and self.chance(0.4) else self.pick(self.values(attribute))
        word = article(value) if attribute == self.noun else self.word(value)
        program = (("filter", target), ("unique",), ("query", attribute), ("is", value))
        return self.build("is it", {"obj": self.name(target), "said": word}, program)

    def choice(self, kind: str = "choice", attribute: str | None = None) -> Question | None:
        """Is the circle red or blue? Is it large or small?"""
        attribute = attribute or self.pick((self.noun, "colour"))
        target = self.absent() if self.chance(0.15) else self.described(1.0)
        target.pop(attribute, None)
        found = self.table.matching(target)
        values = {self.rows[i].get(attribute) for i in found}
        pool = sorted({value for value in self.values(attribute) if value not in values})
        if not target or len(values) > 1 or None in values or not pool:
            return None
        right = values.pop() if values else None
        pair = [right or self.pick(self.values(attribute)), self.pick(pool)]
        if pair[0] == pair[1]:
            return None
        words = {value: article(value) if attribute == self.noun else self.word(value) for value in pair}
        one, two = pair if self.chance(0.5) else pair[::-1]
        fields = {"obj": self.name(target), "one": words[one], "two": words[two]}
        question = self.build(kind, fields, (("filter", target), ("query", attribute)), pair)
        return question and replace(question, answer=words[right].split(" ")[-1] if right else UNKNOWN)

    # How many, and whether any.

    def count(self) -> Question | None:
        """How many red circles are there?"""
        target: Description = {} if self.rows and self.chance(self.unnamed) else self.described(0.9)
        if len(self.table.matching(target)) == 1 and self.chance(0.6):  # or "one" would be nearly always right
            return None
        return self.build("count", self.names(target), (("filter", target), ("count",)))

    def exist(self) -> Question | None:
        """Is there a blue star?"""
        target = self.described()
        return self.build("exist", self.names(target), (("filter", target), ("exist",)))

    def number(self) -> Question | None:
        """Are there at least two circles?"""
        target: Description = {} if self.chance(self.unnamed) else self.described(0.85)
        k = max(1, len(self.table.matching(target)) + int(self.rng.integers(-1, 2)))
        words = self.quantity(k)
        fields = {"are": "is" if k == 1 else "are", "amount": f"{words} {number_word(k)}"}
        fields["plural"] = self.name(target, plural=k != 1)
        return self.build("number", fields, (("filter", target), ("count",), ("amounts", words, k)))

    def quantity(self, k: int) -> str:
        """Words before the number ``k``; "less than one" is a long way to say none."""
        return str(self.pick([words for words in QUANTITIES if k > 1 or words not in ("less than", "fewer than")]))

    def compare(self) -> Question | None:
        """Are there more circles than squares?"""
        attribute = self.pick(("colour", self.noun))
        pool = self.values(attribute)
        one, two = {attribute: self.pick(pool)}, {attribute: self.pick(pool)}
        if one == two:
            return None
        counts: list[Program] = [(("filter", target), ("count",)) for target in (one, two)]
        fields = {"plural": self.name(one, plural=True), "others": self.name(two, plural=True)}
        return self.build("compare", fields, (*counts[0], ("exceeds", counts[1])))

    def every(self) -> Question | None:
        """Are all circles red?"""
        attribute = self.pick(("colour", self.noun))
        group = {} if self.chance(0.3) else self.described(1.0)
        group.pop(attribute, None)
        value = self.pick(self.values(attribute))
        total = len(self.table.matching(group))
        if not total or (total < 2 and self.chance(0.7)):
            return None
        word = plural_of(value) if attribute == self.noun else self.word(value)
        both = (("filter", {**group, attribute: value}), ("count",))
        program = (*both, ("equals", (("filter", group), ("count",))))
        return self.build("every", {"plural": self.name(group, plural=True), "said": word}, program)

    def different(self, kind: str, attribute: str) -> Question | None:
        """How many different colours are there?"""
        values = {row.get(attribute) for row in self.rows}
        if None in values or (len(values) == 1 and self.chance(0.5)):
            return None
        question = self.build(kind, {}, (("distinct", attribute),))
        return question and replace(question, answer=number_word(len(values)))

    def most(self, kind: str, attribute: str) -> Question | None:
        """Which colour is the most common?"""
        return self.build(kind, {}, (("common", attribute),)) if self.rows else None

    def listed(self, kind: str, attribute: str, limit: int = 4) -> Question | None:
        """Which colours are there? From left to right, each where it first occurs."""
        order = sorted(range(len(self.rows)), key=lambda i: self.rows[i]["x"])
        values = list(dict.fromkeys(self.rows[i].get(attribute) for i in order))
        if not 1 <= len(values) <= limit or None in values:
            return None
        return self.build(kind, {}, (("distinct", attribute),), table=Table([self.rows[i] for i in order]))

    # Which stands out, and how two compare.

    def extreme(self) -> Question | None:
        """Which shape is the largest? What colour is the leftmost circle?"""
        attribute, sign, superlatives, _ = self.extremes[self.pick(list(self.extremes))]
        wanted = self.pick((self.noun, "colour"))
        target: Description = {} if self.chance(0.6) else self.described(1.0)
        target = {name: value for name, value in target.items() if name in (self.noun, "colour") and name != wanted}
        if not target and wanted == self.noun and len({row[self.noun] for row in self.rows}) < 2:
            return None
        fields = {"extreme": self.pick(superlatives), "wanted": self.name(target)}
        program = (("filter", target), ("most" if sign > 0 else "least", attribute), ("query", wanted))
        return self.build("extreme" if wanted == self.noun else "extreme colour", fields, program)

    def extreme_is(self) -> Question | None:
        """Is the largest shape red?"""
        extreme = self.extreme()
        if extreme is None or extreme.guess is not None:
            return None
        by_noun = extreme.kind == "extreme"
        pool = [other for other in self.values(self.noun if by_noun else "colour") if other != extreme.answer]
        right = self.chance(0.5) or not pool
        value = extreme.answer if right else self.pick(pool)
        fields = {
            "subject": f"the {extreme.fields['extreme']} {extreme.fields['wanted']}",
            "said": article(value) if by_noun else self.word(value),
        }
        return replace(extreme, kind="extreme is", fields=fields, answer=YES_NO[0 if right else 1])

    def pair(self) -> tuple[Description, Description] | None:
        """Two descriptions, each of one thing."""
        if len(self.rows) < 2:
            return None
        i, j = (int(k) for k in self.rng.permutation(len(self.rows))[:2])
        one, two = self.unique(i), self.unique(j)
        if one is None or two is None:
            return None
        if self.chance(0.12):
            return (self.absent(), two) if self.chance(0.6) else (one, self.absent())
        return one, two

    def comparative(self) -> Question | None:
        """Is the red circle bigger than the square? Which is larger, the circle or the square?"""
        attribute, sign, _, comparatives = self.extremes[self.pick(list(self.extremes))]
        pair = self.pair()
        if pair is None:
            return None
        names = [self.name(target) for target in pair]
        fields = {"obj": names[0], "other": names[1], "comparative": self.pick(comparatives)}
        program: Program = (("filter", pair[0]), ("unique",), ("more", attribute, sign, single(pair[1])))
        if self.chance(0.7):
            return self.build("comparative", fields, program)
        question = self.build("which of two", fields, program, names)
        if question is None or question.guess:
            return question
        return replace(question, answer=names[YES_NO.index(question.answer)])

    def same(self) -> Question | None:
        """Do the circle and the star have the same colour?"""
        pair, attribute = self.pair(), self.pick(("colour", self.noun))
        if pair is None or any(attribute in target for target in pair):
            return None
        aspect = self.pick(("color", "colour")) if attribute == "colour" else attribute
        fields = {"obj": self.name(pair[0]), "other": self.name(pair[1]), "aspect": aspect}
        queries = [(("filter", target), ("unique",), ("query", attribute)) for target in pair]
        return self.build("same", fields, (*queries[0], ("equals", queries[1])))

    # Where one is to another.

    def direction(self) -> tuple[str, int, str]:
        """An axis, a sign on it and words for this."""
        name = self.pick(list(RELATIONS))
        return *AXES[name], self.pick(RELATIONS[name])

    def relation(self) -> Question | None:
        """Is the red circle left of the blue square?"""
        axis, sign, words = self.direction()
        pair = self.pair()
        if pair is None:
            return None
        fields = {"obj": self.name(pair[0]), "other": self.name(pair[1]), "relation": words}
        program = (("filter", pair[0]), ("unique",), ("more", axis, sign, single(pair[1])))
        return self.build("relation", fields, program)

    def fact(self, weight: float, kind: str, answer: str, about: tuple[int, ...] | None = None) -> QuestionForm:
        """A question about the whole picture with a fixed answer; about all things if none are named."""
        question = Question(kind, {}, answer, None, tuple(range(len(self.rows))) if about is None else about)
        return QuestionForm(kind, weight, lambda: question)

    def beside(self) -> Question | None:
        """What is left of the square?"""
        axis, sign, words = self.direction()
        target = self.unique(self.pick(range(len(self.rows))))
        if target is None or self.vague():
            return None
        program = (("beyond", axis, sign, single(target)), ("unique",), ("query", "phrase"))
        return self.build("beside", {"other": self.name(target), "relation": words}, program, self.values("phrase"))

    def vague(self) -> bool:
        """Whether things have no phrase that names them in an answer."""
        return any(row.get("phrase") is None for row in self.rows)


def single(target: Description) -> Program:
    """The one thing that looks so."""
    return (("filter", target), ("unique",))
