"""Chart questions: what can be asked of a chart; labels and values are copied from the OCR lines."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from vlm_demo.training.worlds.asker import Description, form
from vlm_demo.training.worlds.common_questions import CommonAsker, single
from vlm_demo.training.worlds.executor import Program, Table
from vlm_demo.training.worlds.question import Question, QuestionForm, as_answer
from vlm_demo.training.worlds.values import WORDS
from vlm_demo.training.worlds.world import COLOURS, DrawnPicture, article, number_word, plural_of, series_of

MARGINS = {"slice": 0.12}  # of the largest value: values that differ by less are too close to call
ABSENT = 0.13
# Superlatives and comparatives for more and for less, of vertical bars, horizontal bars, slices and any values.
GRADES = {
    "bar": (("tallest", "highest", "biggest"), ("shortest", "lowest"), ("taller", "higher"), ("shorter", "smaller")),
    "horizontal": (("longest", "biggest"), ("shortest", "smallest"), ("longer", "bigger"), ("shorter", "smaller")),
    "slice": (("largest", "biggest"), ("smallest", "tiniest"), ("larger", "bigger"), ("smaller",)),
    "value": (("highest", "largest", "greatest"), ("lowest", "smallest"), ("higher", "greater"), ("lower", "smaller")),
}
PLACES = {0: "first", 1: "second", 2: "third", -1: "last"}
PRINTED = ("label", "series", "known")  # attributes that are printed
# Questions that filter by these attributes, perhaps take the extreme, and query one; each with its weight.
ONE_SERIES: tuple[tuple[float, str, tuple[str, ...], bool, str], ...] = (
    (2.0, "bar value", ("label",), False, "known"),
    (0.5, "colour value", ("colour",), False, "known"),
    (0.6, "extreme value", (), True, "known"),
    (2.0, "label extreme", (), True, "label"),
    (0.8, "label colour", ("label",), False, "colour"),
    (0.8, "colour label", ("colour",), False, "label"),
)
SEVERAL_SERIES: tuple[tuple[float, str, tuple[str, ...], bool, str], ...] = (
    (1.4, "group value", ("label", "series"), False, "known"),
    (1.2, "series colour", ("series",), False, "colour"),
    (1.0, "colour series", ("colour",), False, "series"),
    (0.7, "group extreme", ("label",), True, "series"),
    (0.5, "group colour", ("label",), True, "colour"),
    (1.0, "series extreme", ("series",), True, "label"),
)
FOLLOWS = {"bar value": ("follow value", "label"), "series colour": ("follow series", "item")}


class ChartAsker(CommonAsker):
    """Makes questions about one chart: its marks, and the values of a line chart, are the rows."""

    vocabulary = {"colour": tuple(c for c in COLOURS if c not in ("white", "black"))}

    def __init__(self, picture: DrawnPicture, rng: np.random.Generator, ocr_lines: list[str] | None) -> None:
        facts = picture.facts
        self.labels, self.series, amounts = facts["labels"], facts["series"], np.array(facts["values"])
        self.mark = picture.things[0].shape
        self.several, self.negative = len(self.series) > 1, bool(amounts.min() < 0)
        self.margins = {"value": MARGINS.get(self.mark, 0.04) * float(np.abs(amounts).max())}
        self.general = (self.mark,)
        super().__init__(picture, rng, ocr_lines)
        sort = "horizontal" if facts["horizontal"] else self.mark
        self.grades = GRADES[sort if sort in GRADES and not self.negative else "value"]
        self.extremes = {
            name: ("value", 1 - 2 * k, self.grades[k], self.grades[k + 2]) for k, name in enumerate(("most", "least"))
        }
        self.cells = self.table
        if self.mark == "line":  # a line is one mark with many values
            rows = [
                {**self.rows[s], "label": label, "value": float(amounts[s, j])}
                for s in range(len(self.series))
                for j, label in enumerate(self.labels)
            ]
            self.cells = Table(rows, self.margins)

    def row(self, i: int) -> dict[str, Any]:
        """A mark's ``label``, ``series``, ``value``, ``trend`` and ``known``: its value as printed in the chart, at
        the mark or at the tick that it reaches."""
        row = super().row(i)
        row["known"] = row.get("printed")
        if self.mark == "bar" and "stacked" not in self.facts["chart"] and not row["known"]:
            reached = [
                text for tick, text in self.facts["ticks"] if tick and abs(tick - row["value"]) < 1e-6 * abs(tick)
            ]
            row["known"] = reached[0] if reached else None
        return row

    def forms(self) -> list[QuestionForm]:
        """Every way to ask that the chart may allow."""
        facts, legend, labelled = self.facts, self.facts["legend"], bool(self.labels)
        negative = self.fact(1.0 if self.negative else 0.15, "negative", as_answer(self.negative))
        yes_no = [self.exist, self.number, negative.make]
        found = [
            form(1.4, self.count), form(0.9, self.followed(self.exist, "follow exist", "obj"), "exist"),
            form(0.4, self.describe), form(0.35, self.title), form(0.4, self.axis_title),
            self.fact(0.8, "chart kind", facts["chart"]), self.fact(0.15, "medium", facts["chart"]),
            self.fact(0.35 if legend else 0.2, "legend", as_answer(legend)),
        ]  # fmt: skip
        if self.mark == "bar":
            direction = "horizontal" if facts["horizontal"] else "vertical"
            found += [negative, self.fact(0.3 if facts["horizontal"] else 0.15, "direction", direction)]
        if labelled:
            found += [form(0.5, self.place_label), self.fact(0.4, "categories", number_word(len(self.labels)))]
        if self.several:
            found.append(self.fact(0.8, "series count", number_word(len(self.series))))
        if self.mark == "line":
            found.append(form(2.0, self.followed(self.trend, "follow trend", "tint"), "trend"))
        if labelled and not self.several:
            found.append(form(1.6, self.balanced(self.label_compare), "label compare"))
        if labelled and self.several and legend:
            found.append(form(1.0, self.balanced(self.group_compare), "group compare"))
        if self.mark in ("bar", "slice") and not self.several and len({row["colour"] for row in self.rows}) > 1:
            found += [form(1.6, self.extreme), form(1.2, self.balanced(self.comparative), "comparative")]
            yes_no += [self.comparative, self.extreme_is]
        for weight, kind, by, extreme, wanted in ONE_SERIES if not self.several else SEVERAL_SERIES if legend else ():
            if labelled or "label" not in (*by, wanted):
                found.append(form(weight, self.read_off(kind, by, extreme, wanted), kind))
        return [*found, form(0.9, self.statement(yes_no), "statement")]

    def legible(self, text: str) -> bool:
        """Whether OCR read the text as a whole."""
        pattern = re.compile(rf"(?<![\w.,-]){re.escape(text)}(?![\w%]|[.,]\d)")
        return any(pattern.search(line) for line in self.ocr_lines or [])

    def descriptions(self, i: int) -> list[Description]:
        """A mark is named by its colour; all are of one shape."""
        return [{"shape": self.mark, "colour": self.rows[i]["colour"]}]

    def things_of(self, rows: tuple[int, ...]) -> tuple[int, ...]:
        """The marks that these rows of the cells belong to."""
        return tuple(dict.fromkeys(i // len(self.labels) for i in rows)) if self.mark == "line" else rows

    # Labels, series and values.

    def read_off(self, kind: str, filters: tuple[str, ...], extreme: bool, wanted: str):
        """A maker of a question that filters the values, perhaps takes the highest or lowest, and queries one."""

        def question() -> Question | None:
            rows = [row for row in self.cells.rows if wanted in ("colour", "label", "series") or row["known"]]
            if not rows:
                return None
            row, missing = self.pick(rows), self.chance(ABSENT) and bool(filters)
            target = {name: row[name] for name in filters}
            if missing:
                target[filters[0]] = self.missing(filters[0])
            more = self.chance(0.6)
            fields = {"most": self.pick(GRADES["value"][0 if more else 1]), "wanted": self.mark}
            adjective = self.pick(self.grades[0 if more else 1])
            fields |= {"extreme": adjective, "tint": self.word(target.get("colour", ""))}
            fields |= {"label": target.get("label", ""), "item": target.get("series", "")}
            picked: Program = (("most" if more else "least", "value"),) if extreme else ()
            needs = [target[name] for name in filters if name in PRINTED and not (missing and name == filters[0])]
            guesses = [other[wanted] for other in rows]
            result = self.build(
                kind, fields, (("filter", target), *picked, ("query", wanted)), guesses, table=self.cells,
                needs=needs, copied=wanted in PRINTED,
            )  # fmt: skip
            return result and replace(result, about=self.things_of(result.about))

        return self.followed(question, *FOLLOWS[kind]) if kind in FOLLOWS else question

    def missing(self, attribute: str) -> str:
        """A colour, label or series that the chart does not have."""
        pool = {"colour": self.vocabulary["colour"], "label": WORDS["labels"], "series": WORDS["series"]}[attribute]
        present = {*self.labels, *self.series, *(row["colour"] for row in self.rows)}
        return str(self.pick([word for word in pool if word not in present]))

    def label_compare(self) -> Question | None:
        """Is the value of A greater than the value of E?"""
        one, two = (str(label) for label in self.rng.permutation(self.labels)[:2])
        more = self.chance(0.6)
        kind = "label compare" if more else "label compare less"
        words = self.pick(self.grades[2 if more else 3])
        return self._compared(kind, {"label": one}, {"label": two}, more, {"label": one, "other": two, "taller": words})

    def group_compare(self) -> Question | None:
        """Is Sales greater than Costs in May?"""
        one, two = (str(name) for name in self.rng.permutation(self.series)[:2])
        label = self.pick(self.labels)
        first, second = ({"label": label, "series": name} for name in (one, two))
        return self._compared("group compare", first, second, True, {"label": label, "item": one, "other": two})

    def _compared(self, kind: str, one: Description, two: Description, more: bool, fields: dict) -> Question | None:
        needs = {*one.values(), *two.values()}
        if self.chance(ABSENT):
            needs -= {one["label"]}
            fields["label"] = one["label"] = self.missing("label")
        program = (*single(one), ("more", "value", 1 if more else -1, single(two)))
        fields["wanted"] = self.mark
        question = self.build(kind, fields, program, table=self.cells, needs=sorted(needs))
        return question and replace(question, about=self.things_of(question.about))

    def trend(self) -> Question | None:
        """Does the red line go up or down?"""
        colour = self.missing("colour") if self.chance(ABSENT) else self.pick(self.rows)["colour"]
        target: Description = {"shape": "line", "colour": colour}
        fields = {"obj": self.name(target), "tint": self.word(colour)}
        return self.build("trend", fields, (("filter", target), ("query", "trend")), ("up", "down"))

    # The whole chart.

    def title(self) -> Question | None:
        """What is the title of the chart?"""
        return self._heading("chart title", {}, self.facts["title"], WORDS["titles"], 0.3)

    def axis_title(self) -> Question | None:
        """What is the title of the x axis?"""
        if self.mark == "slice":
            return None
        of_value = self.chance(0.5)
        is_horizontal = of_value == self.facts["horizontal"]
        names = ("x axis", "x-axis", "horizontal axis") if is_horizontal else ("y axis", "y-axis", "vertical axis")
        axis = self.pick(names)
        pool = WORDS["scales" if of_value else "axes"]
        return self._heading("axis title", {"wanted": axis}, self.facts["titles"][of_value], pool, 0.15)

    def place_label(self) -> Question | None:
        """What is the first category?"""
        index = self.pick([index for index in PLACES if index < len(self.labels)])
        if self.mark == "slice":
            return None
        return self._heading("place label", {"extreme": PLACES[index]}, self.labels[index], self.labels)

    def _heading(
        self, kind: str, fields: dict[str, str], text: str, pool: list[str], absent: float = 1
    ) -> Question | None:
        if not text and not self.chance(absent):
            return None
        rows = [{"text": text}] if text else []
        return self.build(kind, fields, (("query", "text"),), pool, table=Table(rows), copied=bool(text), about=())

    def count(self) -> Question | None:
        """How many bars are there? Points that cover each other are not counted."""
        centres = np.array([thing.centre for thing in self.picture.things])
        distances = np.linalg.norm(centres[:, None] - centres, axis=-1) + np.eye(len(centres)) * 1e9
        x0, _, x1, _ = self.picture.things[0].box
        if len(self.rows) > 20 or (self.mark == "point" and distances.min() < x1 - x0):
            return None
        return self.build("count", self.names({"shape": self.mark}), (("count",),))

    def describe(self) -> Question:
        """Describe the chart."""
        n, direction = len(self.rows), "horizontal " if self.facts["horizontal"] else ""
        amount = "many" if n > 12 else number_word(n)
        text = f"a {direction}{self.facts['chart']} with {amount} {plural_of(self.mark) if n > 1 else self.mark}"
        if self.mark == "line" and n < 4:
            text = f"a line chart with {series_of([article(row['colour'] + ' line') for row in self.rows])}"
        return Question("describe", {}, text, None, tuple(range(n)))
