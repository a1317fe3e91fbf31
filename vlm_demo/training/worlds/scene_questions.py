"""Scene questions: what can be asked of coloured shapes; their table comes from the outlines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vlm_demo.training.worlds.asker import Description, form
from vlm_demo.training.worlds.common_questions import EXTREMES, CommonAsker
from vlm_demo.training.worlds.question import Question, QuestionForm, QuestionMaker
from vlm_demo.training.worlds.world import COLOURS, PLACES, SHAPES, DrawnPicture, article, number_word, series_of

LISTED = 4  # of more things only the largest is named
FAINT = 0.35  # with a smaller visible share a thing is neither clearly there nor clearly absent
BOXES = {2: ("left", "right"), 3: ("left", "middle", "right")}


class SceneAsker(CommonAsker):
    """Makes questions about one scene."""

    general = ("shape", "object", "thing")
    adjectives = ("size", "fill", "edge", "colour")
    vocabulary = {"shape": SHAPES, "colour": tuple(COLOURS), "size": ("large", "small"), "fill": ("hollow", "filled")}

    def __init__(self, picture: DrawnPicture, rng: np.random.Generator, ocr_lines: list[str] | None) -> None:
        self.boxes = picture.facts["boxes"]
        self.seen = [i for i, thing in enumerate(picture.things) if thing.visible > 0.05]
        self.clear = all(picture.things[i].visible >= FAINT for i in self.seen)
        super().__init__(picture, rng, ocr_lines)

    def row(self, i: int) -> dict[str, Any]:
        """Next to the attributes of all areas: ``phrase``, ``light`` (0..1), the traits, and which box it is in."""
        thing = self.picture.things[i]
        row = super().row(i) | {"phrase": f"{thing.colour} {thing.shape}"}
        row["light"] = float(np.dot(self.picture.facts["rgbs"][i], (0.299, 0.587, 0.114))) / 255
        row["size"] = next((trait for trait in thing.traits if trait in ("large", "small")), None)
        row["edge"] = "outlined" if "outlined" in thing.traits else None
        row["fill"] = None
        if any("hollow" in other.traits for other in self.picture.things):
            row["fill"] = "hollow" if "hollow" in thing.traits else "filled"
        row["box"] = next((k for k, box in enumerate(self.boxes) if box[0] <= thing.centre[0] < box[2]), None)
        return row

    def forms(self) -> list[QuestionForm]:
        """Every way to ask that the scene may allow; where something is mostly hidden there is none."""
        if not self.clear or len(self.seen) < len(self.rows):
            return []
        if not self.rows:
            return [form(1.0, self.count), form(1.0, self.exist)]
        yes_no: list[tuple[float, QuestionMaker]] = [
            (0.35, self.compare), (0.5, self.every), (0.5, self.number), (0.4, self.is_it), (0.8, self.relation),
            (0.9, self.comparative), (0.4, self.extreme_is), (0.4, self.same), (0.9, self.any_relation),
        ]  # fmt: skip
        yes_no += [(0.8, self.exist_in_box)] if self.boxes else []
        makers = [make for _, make in yes_no]
        found = [
            form(2.0, self.followed(self.count, "follow plural", "plural"), "count"),
            form(1.3, self.followed(self.exist, "follow exist", "obj"), "exist"),
            form(1.6, self.followed(self.colour, "follow thing", "obj"), "colour"),
            form(1.3, self.followed(self.where, "follow thing", "obj"), "where"),
            form(1.1, self.shape), form(0.7, self.describe), form(0.7, self.what),
            self.fact(0.04, "medium", "drawing", ()), form(0.4, self.in_place), form(0.7, self.choice),
            form(2.4, self.statement([*makers, self.exist, self.number]), "statement"),
            form(0.3, lambda: self.listed("colours", "colour"), "colours"),
            form(0.25, lambda: self.listed("kinds", "shape"), "kinds"),
            form(0.3, lambda: self.different("how many colours", "colour")),
            form(0.3, lambda: self.different("how many kinds", "shape")),
            form(0.35, lambda: self.most("most colour", "colour")),
            form(0.35, lambda: self.most("most shape", "shape")),
            *(form(weight, self.balanced(make), getattr(make, "__name__", "")) for weight, make in yes_no),
        ]  # fmt: skip
        if self.facts["background"] and not self.boxes:
            found.append(self.fact(0.2, "background", self.facts["background"], ()))
        if len(self.rows) == 1:
            return [*found, form(1.0, self.only)]
        found += [form(0.9, self.extreme), form(0.6, self.beside)]
        if self.rows[0]["fill"]:
            found.append(form(1.5, lambda: self.choice("fill", "fill"), "fill"))
        if any(row["size"] for row in self.rows):
            found.append(form(1.0, lambda: self.choice("size", "size"), "size"))
        if self.boxes:
            found += [form(1.0, self.count_in_box), form(0.6, self.which_box), form(0.9, self.in_which_box)]
            found.append(self.fact(0.3, "how many boxes", number_word(len(self.boxes)), ()))
        return found

    # What one thing is like.

    def shape(self) -> Question | None:
        """What shape is red?"""
        colour = self.pick(list(COLOURS)) if self.chance(0.2) else self.pick(self.rows)["colour"]
        program = (("filter", {"colour": colour}), ("query", "shape"))
        return self.build("shape", {"tint": self.word(colour)}, program, self.values("shape"))

    def only(self) -> Question | None:
        """What shape is this? (one thing in the picture)"""
        return self.build("only", {}, (("query", "shape"),))

    def in_place(self) -> Question | None:
        """What is in the top left?"""
        if self.boxes or any(row["zone"] is None for row in self.rows):
            return None
        place = self.pick(PLACES if self.chance(0.3) else [row["zone"] for row in self.rows])
        preposition = {"left": "on", "right": "on", "top": "at", "bottom": "at"}.get(place, "in")
        corner = " corner" if " " in place and self.chance(0.5) else ""
        program = (("filter", {"zone": place}), ("unique",), ("query", "phrase"))
        return self.build("in place", {"place": f"{preposition} the {place}{corner}"}, program, self.values("phrase"))

    def any_relation(self) -> Question | None:
        """Is a triangle left of a square?"""
        axis, sign, words = self.direction()
        one, two = self.described(0.95), self.described(0.95)
        pairs = [(i, j) for i in self.table.matching(one) for j in self.table.matching(two) if i != j]
        gaps = [(self.rows[i][axis] - self.rows[j][axis]) * sign for i, j in pairs]
        if len(self.rows) < 2 or (max(gaps, default=-1) <= self.margins[axis] and any(
            abs(gap) <= self.margins[axis] for gap in gaps
        )):  # fmt: skip
            return None
        truth = any(gap > self.margins[axis] for gap in gaps)
        names = [article(self.name(target)) for target in (one, two)]
        about = tuple(sorted({i for pair in pairs for i in pair}))
        fields = {"one": names[0], "two": names[1], "relation": words, "obj": self.name(one)}
        return Question("any relation", fields, "yes" if truth else "no", None, about)

    # Things in boxes.

    def box_name(self, box: int) -> str:
        """Such as "the left box"."""
        last = len(self.boxes) - 1
        place = {0: ("left", "leftmost"), last: ("right", "rightmost", "last")}
        if last == 2:
            place[1] = ("middle", "center")
        return f"the {self.pick((('first', 'second', 'third', 'fourth')[box], *place.get(box, ())))} box"

    def count_in_box(self) -> Question | None:
        """How many red shapes are in the left box?"""
        box, target = self.pick(range(len(self.boxes))), self.pick(({}, self.described(0.9)))
        fields = {"plural": self.name(target, plural=True), "box": self.box_name(box)}
        return self.build("count in box", fields, (("filter", {**target, "box": box}), ("count",)))

    def exist_in_box(self) -> Question | None:
        """Is there a red square in the left box?"""
        box, target = self.pick(range(len(self.boxes))), self.described(0.85)
        fields = {**self.names(target), "box": self.box_name(box)}
        return self.build("exist in box", fields, (("filter", {**target, "box": box}), ("exist",)))

    def which_box(self) -> Question | None:
        """Which box has the most shapes?"""
        want_most, target = self.chance(0.6), self.pick(({}, self.described(1.0)))
        counts = self._in_boxes(target)
        best = max(counts) if want_most else min(counts)
        if counts.count(best) > 1 or len(counts) not in BOXES:
            return None
        fields = {"amount": "the most" if want_most else "the fewest", "plural": self.name(target, plural=True)}
        box = counts.index(best)
        about = tuple(self.table.matching({**target, "box": box}))
        return Question("which box", fields, BOXES[len(counts)][box], None, about)

    def _in_boxes(self, target: Description) -> list[int]:
        return [len(self.table.matching({**target, "box": box})) for box in range(len(self.boxes))]

    def in_which_box(self) -> Question | None:
        """In which box is the red circle?"""
        places = BOXES.get(len(self.boxes))
        if places is None:
            return None
        target = self.described(0.95)
        program = (("filter", target), ("query", "box"))
        question = self.build("in which box", {"obj": self.name(target)}, program, places)
        if question is None or question.guess is not None:
            return question
        answer = places[self.rows[question.about[0]]["box"]]
        return Question("in which box", question.fields, answer, None, question.about)

    # The whole picture.

    def describe(self) -> Question | None:
        """Describe the picture: up to four things from left to right, of more the largest."""
        order = sorted(range(len(self.rows)), key=lambda i: self.rows[i]["x"])
        return self._listing("describe", article, order)

    def what(self) -> Question | None:
        """What is in the picture? The same without articles, and in any order."""
        return self._listing("what", str, [int(i) for i in self.rng.permutation(len(self.rows))])

    def _listing(self, kind: str, name_of: Callable[[str], str], order: list[int]) -> Question | None:
        if len(order) <= LISTED:
            text = series_of([name_of(self.rows[i]["phrase"]) for i in order])
            return Question(kind, {}, text, None, tuple(order))
        attribute, sign, *_ = EXTREMES["largest"]
        largest = self.build(kind, {}, (("most", attribute), ("query", "phrase")))
        if largest is None:
            return None
        return Question(kind, {}, f"many shapes, the largest {article(largest.answer)}", None, largest.about)
