"""Chart questions: what can be asked of a chart; labels and values are copied from what OCR read."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from vlm_demo.training.worlds.asker import Asker, Look, form, single
from vlm_demo.training.worlds.asking import Form, Made
from vlm_demo.training.worlds.charts import AXES, LABELS, SCALES, SERIES, TITLES
from vlm_demo.training.worlds.executor import Program, Table
from vlm_demo.training.worlds.world import COLOURS, Picture, article, number_word, plural_of

CLOSE = 0.04  # of the largest value: values that differ by less are too close to call
ABSENT = 0.13
SUPERLATIVES = {
    "bar": (("tallest", "highest", "biggest"), ("shortest", "lowest", "smallest")),
    "lying": (("longest", "biggest", "largest"), ("shortest", "smallest")),
    "slice": (("largest", "biggest"), ("smallest", "tiniest")),
}
COMPARATIVES = {
    "bar": (("taller", "higher", "bigger"), ("shorter", "smaller")),
    "lying": (("longer", "bigger"), ("shorter", "smaller")),
    "slice": (("larger", "bigger"), ("smaller",)),
}
MOST = (("highest", "largest", "greatest"), ("lowest", "smallest"))
PLACES = ("first", "second", "third")


class ChartAsker(Asker):
    """Makes questions about one chart: of its marks as rows, and of its values by label and series."""

    general = ("mark",)
    vocabulary = {"colour": tuple(c for c in COLOURS if c not in ("white", "black"))}

    def __init__(self, picture: Picture, rng: np.random.Generator, read: list[str] | None) -> None:
        facts = picture.facts
        self.labels, self.series, self.values_ = facts["labels"], facts["series"], np.array(facts["values"])
        self.mark = picture.things[0].shape
        self.several, self.negative = len(self.series) > 1, bool(self.values_.min() < 0)
        self.margins = {"value": CLOSE * float(np.abs(self.values_).max()) * (3 if self.mark == "slice" else 1)}
        super().__init__(picture, rng, read)
        self.general = (self.mark,)
        words = SUPERLATIVES["lying" if facts["lying"] else self.mark if self.mark in SUPERLATIVES else "bar"]
        than = COMPARATIVES["lying" if facts["lying"] else self.mark if self.mark in COMPARATIVES else "bar"]
        words = MOST if self.negative or self.mark not in SUPERLATIVES else words
        self.extremes = {"most": ("value", 1, words[0], than[0]), "least": ("value", -1, words[1], than[1])}
        self.cells = Table(
            [
                {"label": label, "series": name, "value": float(self.values_[s, j]), "colour": self._shade(s, j)}
                for s, name in enumerate(self.series)
                for j, label in enumerate(self.labels)
            ],
            self.margins,
        )

    def _shade(self, s: int, j: int) -> str:
        """The colour of a value's mark."""
        found = [row for row in self.rows if row["series"] == (self.series[s] or None)]
        return str(found[0 if self.mark == "line" else j]["colour"])

    def row(self, i: int) -> dict[str, Any]:
        """Besides what all areas know, a mark's ``label``, ``series``, ``value``, ``printed`` and ``trend``."""
        return super().row(i) | {"phrase": None}

    def forms(self) -> list[Form]:
        """Every way to ask that the chart may allow."""
        single_series = not self.several and self.mark in ("bar", "slice")
        own_colours = single_series and len({row["colour"] for row in self.rows}) > 1
        yes_no = [self.exist, self.number, self.negative_values]
        found = [
            form(1.4, self.count), form(0.9, self.followed(self.exist, "follow exist", "obj"), "exist"),
            form(0.8, self.kind_of_chart, "chart kind"), form(0.4, self.describe), form(0.15, self.medium),
            form(0.35, self.legend), form(0.4, self.title), form(0.4, self.axis_title),
        ]  # fmt: skip
        if self.mark == "bar":
            found += [form(0.3, self.direction), form(1.2 if self.negative else 0.15, self.negative_values)]
        if self.labels:
            found += [form(0.5, self.categories), form(0.5, self.place_label)]
        if self.several:
            found.append(form(0.8, self.series_count))
        if self.several and self.facts["legend"]:
            series = self.followed(self.series_colour, "follow series", "item")
            found += [form(1.2, series, "series_colour"), form(1.0, self.colour_series)]
        if self.labels and not self.several:
            found += [form(2.0, self.label_extreme), form(1.6, self.balanced(self.label_compare), "label_compare")]
        if self.labels and self.several and self.facts["legend"]:
            found += [form(1.1, self.group_extreme), form(1.0, self.series_extreme)]
            found.append(form(1.0, self.balanced(self.group_compare), "group_compare"))
        if self.mark in ("bar", "slice") and (not self.several or self.facts["legend"]):
            found.append(form(2.2, self.followed(self.value, "follow value", "label"), "value"))
            found.append(form(0.6, self.extreme_value))
        if self.mark == "line":
            found.append(form(2.0, self.followed(self.trend, "follow trend", "tint"), "trend"))
        if own_colours:
            found += [form(1.6, self.extreme_colour), form(0.8, self.label_colour), form(0.8, self.colour_label)]
            found += [form(1.2, self.balanced(self.comparative), "comparative"), form(0.6, self.extreme_is)]
            yes_no += [self.comparative, self.extreme_is]
        return [*found, form(0.9, self.statement(yes_no), "statement")]

    def legible(self, text: str) -> bool:
        """Whether OCR read the text as a whole."""
        whole = re.compile(rf"(?<![\w.,-]){re.escape(text)}(?![\w%]|[.,]\d)")
        return any(whole.search(line) for line in self.read or [])

    def ways(self, i: int) -> list[Look]:
        """A mark is named by its colour; all are of one shape."""
        row = self.rows[i]
        return [{"shape": self.mark, "colour": row["colour"]}]

    def at(self, **look: str) -> tuple[int, ...]:
        """The things of a label or of a series."""
        look = {k: v for k, v in look.items() if v and not (k == "label" and self.mark == "line")}
        return tuple(self.table.matching(look))

    # The whole chart.

    def kind_of_chart(self) -> Made:
        """What kind of chart is this?"""
        return Made("chart kind", {}, self.facts["chart"], None, tuple(range(len(self.rows))))

    def medium(self) -> Made:
        """What kind of picture is this?"""
        return Made("medium", {}, self.facts["chart"])

    def legend(self) -> Made | None:
        """Is there a legend?"""
        there = self.facts["legend"]
        return Made("legend", {}, "yes" if there else "no") if there or self.chance(0.6) else None

    def direction(self) -> Made | None:
        """Are the bars horizontal or vertical?"""
        lying = self.facts["lying"]
        return Made("direction", {}, "horizontal" if lying else "vertical") if lying or self.chance(0.45) else None

    def negative_values(self) -> Made:
        """Are there negative values?"""
        below = tuple(i for i, row in enumerate(self.rows) if (row.get("value") or 0) < 0)
        return Made("negative", {}, "yes" if self.negative else "no", None, below)

    def title(self) -> Made | None:
        """What is the title of the chart?"""
        return self._heading("chart title", {}, self.facts["title"], TITLES, 0.3)

    def axis_title(self) -> Made | None:
        """What is the title of the x axis?"""
        if self.mark == "slice":
            return None
        of_value = self.chance(0.5)
        flat = of_value == self.facts["lying"]
        axis = self.pick(("x axis", "x-axis", "horizontal axis") if flat else ("y axis", "y-axis", "vertical axis"))
        pool = SCALES if of_value else AXES
        return self._heading("axis title", {"wanted": axis}, self.facts["titles"][of_value], pool, 0.15)

    def _heading(self, kind: str, fields: dict[str, str], text: str, pool: list[str], absent: float) -> Made | None:
        if not text and not self.chance(absent):
            return None
        rows = [{"text": text}] if text else []
        return self.made(kind, fields, (("query", "text"),), pool, table=Table(rows), copied=bool(text), about=())

    def categories(self) -> Made:
        """How many categories does the chart have?"""
        return Made("categories", {}, number_word(len(self.labels)), None, tuple(range(len(self.rows))))

    def series_count(self) -> Made:
        """How many series are there?"""
        return Made("series count", {}, number_word(len(self.series)), None, tuple(range(len(self.rows))))

    def count(self) -> Made | None:
        """How many bars are there?"""
        if len(self.rows) > 20 or (self.mark == "point" and self._crowded()):
            return None
        look: Look = {"shape": self.mark}
        return self.made("count", self.names(look), (("filter", look), ("count",)))

    def _crowded(self) -> bool:
        """Whether points cover each other."""
        middles = np.array([thing.centre for thing in self.picture.things])
        apart = np.linalg.norm(middles[:, None] - middles, axis=-1) + np.eye(len(middles)) * 1e9
        x0, _, x1, _ = self.picture.things[0].box
        return bool(apart.min() < x1 - x0)

    def describe(self) -> Made:
        """Describe the chart."""
        n, lying = len(self.rows), "horizontal " if self.facts["lying"] else ""
        amount = "many" if n > 12 else number_word(n)
        text = f"a {lying}{self.facts['chart']} with {amount} {plural_of(self.mark) if n > 1 else self.mark}"
        if self.mark == "line" and n < 4:
            names = " and ".join(article(f"{row['colour']} line") for row in self.rows)
            text = f"a line chart with {names}"
        return Made("describe", {}, text, None, tuple(range(n)))

    # Labels and values.

    def read_off(
        self, kind: str, fields: dict[str, str], program: Program, guesses: Any, about: dict[str, str] | None = None,
        needs: tuple[str, ...] = (), copied: bool = False,
    ) -> Made | None:  # fmt: skip
        """A question that the table of values answers."""
        needs = tuple(text for text in needs if text)
        return self.made(
            kind, fields, program, guesses, table=self.cells, needs=needs, copied=copied, about=self.at(**(about or {}))
        )

    def missing(self, pool: list[str]) -> str:
        """A label or series that the chart does not have."""
        return str(self.pick([word for word in pool if word not in (*self.labels, *self.series)]))

    def place_label(self) -> Made | None:
        """What is the first category?"""
        if self.mark == "slice":
            return None
        at = self.pick([*range(min(3, len(self.labels))), -1])
        fields, rows = {"extreme": PLACES[at] if at >= 0 else "last"}, [{"label": self.labels[at]}]
        about = self.at(label=self.labels[at])
        return self.made(
            "place label", fields, (("query", "label"),), self.labels, table=Table(rows), copied=True, about=about
        )

    def label_extreme(self) -> Made | None:
        """Which category has the highest value?"""
        top = self.chance(0.55)
        name = "most" if top else "least"
        fields = {"most": self.pick(MOST[0 if top else 1]), "extreme": self.pick(self.extremes[name][2])}
        program: Program = ((name, "value"), ("query", "label"))
        made = self.read_off("label extreme", fields, program, self.labels, copied=True)
        return made and replace(made, about=self.at(label=made.answer) if made.guess is None else ())

    def label_compare(self) -> Made | None:
        """Is the value of A greater than the value of E?"""
        one, two = (str(label) for label in self.rng.permutation(self.labels)[:2])
        one = self.missing(LABELS) if self.chance(ABSENT) else one
        more = self.chance(0.6)
        words = self.extremes["most" if more else "least"][3]
        fields = {"label": one, "other": two, "taller": self.pick(words), "wanted": self.mark}
        program = (*single({"label": one}), ("more", "value", 1 if more else -1, single({"label": two})))
        needs = (one if one in self.labels else "", two)
        kind = "label compare" if more else "label compare less"
        made = self.read_off(kind, fields, program, ("yes", "no"), needs=needs)
        return made and replace(made, about=(*self.at(label=one), *self.at(label=two)))

    def known(self, row: dict[str, Any] | Any) -> str | None:
        """A mark's value as it stands in the chart: at the mark, or at the tick that it reaches."""
        if row.get("printed") or self.mark == "slice" or "stacked" in self.facts["chart"]:
            return row.get("printed")
        reached = [text for tick, text in self.facts["ticks"] if tick and abs(tick - row["value"]) < 1e-6 * abs(tick)]
        return reached[0] if reached else None

    def value(self) -> Made | None:
        """What is the value of D? Of Sales in May?"""
        told = [row for row in self.rows if self.known(row)]
        if not told:
            return None
        row = self.pick(told)
        label = self.missing(LABELS) if self.chance(0.1) else row["label"]
        guesses = [self.known(other) for other in told]
        look = {"label": label, "series": row["series"]}
        table = Table([dict(other) | {"known": self.known(other)} for other in self.rows])
        kind, fields = ("group value" if self.several else "bar value"), {"label": label, "item": row["series"] or ""}
        needs = [text for text in (label if label in self.labels else "", row["series"]) if text]
        return self.made(
            kind, fields | {"wanted": self.mark}, (("filter", look), ("query", "known")), guesses, table=table,
            needs=needs, copied=True,
        )  # fmt: skip

    def extreme_value(self) -> Made | None:
        """What is the highest value?"""
        if self.several:
            return None
        top = self.chance(0.6)
        table = Table([dict(row) | {"known": self.known(row)} for row in self.rows], self.margins)
        name = "most" if top else "least"
        fields = {"most": self.pick(MOST[0 if top else 1]), "extreme": self.pick(self.extremes[name][2])}
        program = ((name, "value"), ("query", "known"))
        guesses = [self.known(row) or "10" for row in self.rows]
        return self.made("extreme value", fields | {"wanted": self.mark}, program, guesses, table=table, copied=True)

    def label_colour(self) -> Made | None:
        """What colour is the bar for Mon?"""
        label = self.missing(LABELS) if self.chance(ABSENT) else self.pick(self.labels)
        needs = (label,) if label in self.labels else ()
        program = (("filter", {"label": label}), ("query", "colour"))
        fields = {"label": label, "wanted": self.mark}
        return self.read_off("label colour", fields, program, self.values("colour"), {"label": label}, needs)

    def colour_label(self) -> Made | None:
        """Which category is the red bar?"""
        colour = self.pick(self.values("colour"))
        fields = {"tint": self.word(colour), "wanted": self.mark}
        program = (("filter", {"colour": colour}), ("unique",), ("query", "label"))
        made = self.read_off("colour label", fields, program, self.labels, copied=True)
        return made and replace(made, about=tuple(self.table.matching({"colour": colour})))

    def extreme_colour(self) -> Made | None:
        """What colour is the tallest bar?"""
        made = self.extreme()
        if made is None or made.kind != "extreme colour":
            return None
        other = self.made_colour("least" if made.fields["extreme"] in self.extremes["most"][2] else "most")
        return replace(made, follow=other) if other and self.chance(0.3) else made

    def made_colour(self, name: str) -> Made | None:
        """And the shortest one?"""
        fields = {"extreme": self.pick(self.extremes[name][2])}
        return self.made("follow bar", fields, ((name, "value"), ("query", "colour")))

    # Series.

    def series_colour(self) -> Made | None:
        """What colour is the line for Sales?"""
        name = self.missing(SERIES) if self.chance(ABSENT) else self.pick(self.series)
        program = (("filter", {"series": name}), ("query", "colour"))
        needs = (name,) if name in self.series else ()
        fields = {"item": name, "wanted": self.mark}
        return self.made("series colour", fields, program, self.values("colour"), needs=needs)

    def colour_series(self) -> Made | None:
        """Which series is red?"""
        colour = self.pick(self.values("colour"))
        fields = {"tint": self.word(colour), "wanted": self.mark}
        return self.made(
            "colour series", fields, (("filter", {"colour": colour}), ("query", "series")), self.series, copied=True
        )

    def group_extreme(self) -> Made | None:
        """Which group has the highest value in category B?"""
        label = self.missing(LABELS) if self.chance(ABSENT) else self.pick(self.labels)
        top, by_colour = self.chance(0.55), self.chance(0.4)
        wanted = "colour" if by_colour else "series"
        program = (("filter", {"label": label}), ("most" if top else "least", "value"), ("query", wanted))
        fields = {"most": self.pick(MOST[0 if top else 1]), "label": label}
        needs = (label,) if label in self.labels else ()
        guesses = self.values("colour") if by_colour else self.series
        kind = "group colour" if by_colour else "group extreme"
        return self.read_off(kind, fields, program, guesses, {"label": label}, needs, not by_colour)

    def series_extreme(self) -> Made | None:
        """Which category has the highest value of Sales?"""
        name = self.missing(SERIES) if self.chance(ABSENT) else self.pick(self.series)
        top = self.chance(0.55)
        program = (("filter", {"series": name}), ("most" if top else "least", "value"), ("query", "label"))
        needs = (name,) if name in self.series else ()
        fields = {"most": self.pick(MOST[0 if top else 1]), "item": name}
        return self.read_off("series extreme", fields, program, self.labels, {"series": name}, needs, True)

    def group_compare(self) -> Made | None:
        """Is Sales greater than Costs in May?"""
        one, two = (str(name) for name in self.rng.permutation(self.series)[:2])
        label = self.missing(LABELS) if self.chance(ABSENT) else self.pick(self.labels)
        program = (
            *single({"series": one, "label": label}), ("more", "value", 1, single({"series": two, "label": label})),
        )  # fmt: skip
        needs = (label if label in self.labels else "", one, two)
        fields = {"label": label, "item": one, "other": two}
        return self.read_off("group compare", fields, program, ("yes", "no"), {"label": label}, needs)

    def trend(self) -> Made | None:
        """Does the red line go up or down?"""
        colour = self.pick(self.values("colour"))
        look: Look = {"shape": "line", "colour": colour}
        fields = {"obj": self.name(look), "tint": self.word(colour)}
        return self.made("trend", fields, (("filter", look), ("query", "trend")), ("up", "down"))
