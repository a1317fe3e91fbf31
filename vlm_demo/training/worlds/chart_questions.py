"""Chart questions: what can be asked of a chart, with true answers from its values and outlines."""

from __future__ import annotations

import numpy as np

from vlm_demo.training.worlds.asking import Looks, Made, Maker, Makers
from vlm_demo.training.worlds.chart_data import AXES, LABELS, SCALES, SERIES, TITLES
from vlm_demo.training.worlds.chart_statements import ChartStatements
from vlm_demo.training.worlds.world import UNKNOWN, Picture, number_word

UNREAD = 0.2  # how often a question is asked that only OCR could answer while it is off
ABSENT = 0.13  # how often one about something that is not there
PLACES = ("first", "second", "third")


def makers(picture: Picture, rng: np.random.Generator, read: list[str] | None) -> Makers:
    """What can be asked of a chart; what OCR must read is copied from ``read``."""
    return ChartAsker(picture, rng, read).makers()


class ChartAsker(ChartStatements):
    """Makes questions about one chart; every method returns one question, or None if it does not fit the chart."""

    def makers(self) -> list[tuple[float, Maker]]:
        """Every kind with its weight."""
        found: list[tuple[float, Maker]] = [
            (1.6, self.count), (0.8, self.kind_of_chart), (0.15, self.medium), (0.4, self.describe),
            (0.9, self.statement), (0.35, self.legend), (0.35, self.title), (0.4, self.axis_title), (0.9, self.exist),
        ]  # fmt: skip
        if self.labels:
            found += [(0.5, self.categories), (0.5, self.place)]
        if self.several:
            found += [(0.8, self.series_count), (1.2, self.series_colour), (1.0, self.colour_series)]
        if self.mark in ("bar", "slice"):
            found += [(2.4, self.value), (0.8, self.extreme_value)]
        if self.mark == "bar":
            found += [(0.3, self.direction), (1.5 if self.negative else 0.18, self.below_zero)]
            if self.several:
                found += [(1.3, self.group_extreme), (1.1, self.series_extreme), (1.2, self.group_compare)]
            else:
                found += [(2.0, self.label_extreme), (1.6, self.label_compare), (0.5, self.colour_value)]
        if self.mark == "slice":
            found += [(2.0, self.label_extreme), (1.0, self.label_compare)]
        if self.mark == "line":
            found += [(2.0, self.trend), (2.5, self.label_extreme)]
        if not self.several and self.mark in ("bar", "slice") and len(set(self.colours)) > 1:
            found += [(2.0, self.mark_colour), (0.8, self.label_colour)]
            if self.apart:
                found += [(1.3, self.mark_compare), (0.8, self.colour_label)]
        return found

    def unread(self, kind: str, fields: dict[str, str], guess: str, share: float = UNREAD) -> Made | None:
        """The question unanswered, as OCR is off; None if OCR is on, which only failed to read it."""
        if self.read is not None or not self.chance(share):
            return None
        return Made(kind, fields, UNKNOWN, guess)

    def copy(self, kind: str, fields: dict[str, str], text: str, guess: str, looks: Looks, among=None) -> Made | None:
        """A question whose answer is printed."""
        if not self.readable(text):
            return self.unread(kind, fields, guess)
        return Made(kind, fields, text, None, looks, among, text)

    def count(self) -> Made | None:
        """How many bars are there?"""
        if len(self.things) > 20 or (self.mark == "point" and self._crowded()):
            return None
        kind = {"bar": "bars", "slice": "slices", "line": "lines", "point": "points"}[self.mark]
        return Made(kind, {}, number_word(len(self.things)), None, ((0, self.every),))

    def _crowded(self) -> bool:
        """Whether points cover each other."""
        middles = np.array([thing.centre for thing in self.things])
        apart = np.linalg.norm(middles[:, None] - middles, axis=-1) + np.eye(len(middles)) * 1e9
        width = self.things[0].box[2] - self.things[0].box[0]
        return bool(apart.min() < width)

    def categories(self) -> Made:
        """How many categories does the chart have?"""
        return Made("categories", {}, number_word(len(self.labels)), None, ((0, self.every),))

    def series_count(self) -> Made:
        """How many series are there?"""
        return Made("series count", {}, number_word(len(self.series)), None, ((0, self.every),))

    def kind_of_chart(self) -> Made:
        """What kind of chart is this?"""
        return Made("chart kind", {}, self.kind, None, ((0, self.every),))

    def medium(self) -> Made:
        """What kind of picture is this?"""
        return Made("medium", {}, self.kind)

    def describe(self) -> Made | None:
        """Describe the chart."""
        text = f"a {'horizontal ' if self.lying else ''}{self.kind}"
        n = len(self.things)
        looks: Looks = ((0, self.every),)
        if n > 12:
            return Made("describe", {}, f"{text} with many {self.mark}s", None, looks)
        text += f" with {number_word(n)} {self.mark}{'s' if n > 1 else ''}"
        top = self.extreme(True) if self.mark in ("bar", "slice") else None
        if self.mark == "line" and n < 4:
            names = [("an " if c == "orange" else "a ") + c + " line" for c in self.colours]
            return Made("describe", {}, *self._listed("a line chart with ", names, self.every))
        if top is None:
            return Made("describe", {}, text, None, looks)
        lead = f"{text}, the {self._plainest(True)} one "
        return Made("describe", {}, lead + self.colours[top], None, (*looks, (len(lead), (top,))))

    def _plainest(self, top: bool) -> str:
        if self.mark == "slice":
            return "largest" if top else "smallest"
        if self.negative:
            return "highest" if top else "lowest"
        return ("longest" if self.lying else "tallest") if top else "shortest"

    def _listed(self, text: str, names: list[str], things: tuple[int, ...]) -> tuple[str, None, Looks]:
        looks = []
        for place, (name, i) in enumerate(zip(names, things, strict=True)):
            looks.append((len(text), (i,)))
            rest = len(names) - 1 - place
            text += name + (", " if rest > 1 else " and " if rest else "")
        return text, None, tuple(looks)

    def statement(self) -> Made | None:
        """True or false: the tallest bar is red."""
        made = self.clause()
        if made is None:
            return None
        text, truth, looks, among = made
        if self.chance(0.6):
            return Made("yes statement", {"statement": text}, "yes" if truth else "no", None, looks, among)
        return Made("true statement", {"statement": text}, "true" if truth else "false", None, looks, among)

    def legend(self) -> Made | None:
        """Is there a legend?"""
        there = bool(self.picture.facts["legend"])
        if not there and not self.chance(0.6):  # most charts have none
            return None
        return Made("legend", {}, "yes" if there else "no")

    def direction(self) -> Made | None:
        """Are the bars horizontal or vertical?"""
        if not self.lying and not self.chance(0.45):
            return None
        return Made("direction", {}, "horizontal" if self.lying else "vertical", None, ((0, self.every),))

    def below_zero(self) -> Made:
        """Are there negative values?"""
        below = tuple(i for i in self.every if self.amount(i) < 0)
        return Made("negative", {}, "yes" if below else "no", None, ((0, below),))

    def title(self) -> Made | None:
        """What is the title of the chart?"""
        title = self.picture.facts["title"]
        if not title:
            return Made("chart title", {}, UNKNOWN, self.pick(TITLES)) if self.chance(0.3) else None
        return self.copy("chart title", {}, title, self.pick(TITLES), ())

    def axis_title(self) -> Made | None:
        """What is the title of the x axis?"""
        if self.mark == "slice":
            return None
        of_value = self.chance(0.5)
        title = self.picture.facts["titles"][of_value]
        flat = of_value == self.lying
        axis = self.pick(("x axis", "x-axis", "horizontal axis") if flat else ("y axis", "y-axis", "vertical axis"))
        fields, guess = {"wanted": axis}, self.pick(SCALES if of_value else AXES)
        if not title:
            return Made("axis title", fields, UNKNOWN, guess) if self.chance(0.15) else None
        return self.copy("axis title", fields, title, guess, ())

    def exist(self) -> Made:
        """Is there a red bar?"""
        there = self.chance(0.5)
        colour = self.pick(sorted(set(self.colours))) if there else self.absent()
        other_there = self.chance(0.5)
        other = self.pick(sorted(set(self.colours))) if other_there else self.absent()
        follow = None
        if other != colour and self.chance(0.3):
            fields = {"obj": f"{self.tint(other)} {self.mark}", "plural": f"{self.tint(other)} {self.mark}s"}
            follow = Made("follow exist", fields, "yes" if other_there else "no", None, ((0, self.painted(other)),))
        answer, looks = "yes" if there else "no", ((0, self.painted(colour)),)
        tint = self.tint(colour)
        if self.mark == "bar":
            return Made("bar exist", {"tint": tint}, answer, None, looks, follow=follow)
        fields = {"obj": f"{tint} {self.mark}", "plural": f"{tint} {self.mark}s"}
        return Made("exist", fields, answer, None, looks, follow=follow)

    def mark_colour(self) -> Made | None:
        """What colour is the tallest bar?"""
        top = self.chance(0.55)
        i, j = self.extreme(top), self.extreme(not top)
        if i is None:
            return None
        kind = f"{self.mark} colour"
        follow = None
        if j is not None and self.chance(0.35):
            fields = {"extreme": self.words(not top)}
            follow = Made("follow bar", fields, self.colours[j], None, ((0, (j,)),), self.every)
        return Made(kind, {"extreme": self.words(top)}, self.colours[i], None, ((0, (i,)),), self.every, follow=follow)

    def mark_compare(self) -> Made | None:
        """Is the red bar taller than the blue one?"""
        if self.negative:
            return None
        big = self.chance(0.6)
        if self.mark == "slice":
            word = self.pick(("larger", "bigger") if big else ("smaller",))
        else:
            tall = ("longer", "bigger") if self.lying else ("taller", "taller", "higher", "bigger")
            word = self.pick(tall if big else ("shorter", "smaller"))
        kind = f"{self.mark} compare"
        i, j = self.two(len(self.things))
        if self.chance(ABSENT):
            fields = {"tint": self.absent(), "other": self.tint(self.colours[j]), "taller": word}
            if self.chance(0.4):
                fields["tint"], fields["other"] = fields["other"], fields["tint"]
            return Made(kind, fields, UNKNOWN, self.pick(("yes", "no")))
        if not self.differ(self.amount(i), self.amount(j)):
            return None
        answer = "yes" if (self.amount(i) > self.amount(j)) == big else "no"
        fields = {"tint": self.tint(self.colours[i]), "other": self.tint(self.colours[j]), "taller": word}
        return Made(kind, fields, answer, None, ((0, (i,)), (0, (j,))))

    def label_extreme(self) -> Made | None:
        """Which category has the highest value?"""
        if self.several:
            return None
        top = self.chance(0.55)
        j = self.outstanding(list(self.values[0]), top)
        if j is None:
            return None
        kind = {"bar": "bar label", "slice": "slice label", "line": "label extreme"}[self.mark]
        made = self._labelled(kind, top, j)
        other = self.outstanding(list(self.values[0]), not top)
        if made is None or made.guess is not None or other is None or not self.chance(0.35):
            return made
        follow = self._labelled("follow bar", not top, other)
        if follow is None or follow.guess is not None:
            return made
        return Made(made.kind, made.fields, made.answer, None, made.looks, made.among, made.copied, follow)

    def _labelled(self, kind: str, top: bool, j: int) -> Made | None:
        most = self.most(top)
        fields = {"extreme": most if kind == "follow bar" else self.words(top), "most": most}
        label, looks = self.labels[j], ((0, self.of(0, j)),)
        if self.readable(label):
            return Made(kind, fields, label, None, looks, self.every, label)
        if self.lettered:
            return Made(kind, fields, label, None, looks, self.every)
        return self.unread(kind, fields, self.pick(self.labels))

    def label_compare(self) -> Made | None:
        """Is the value of A greater than the value of E?"""
        i, j = self.two(len(self.labels))
        one, two = self.labels[i], self.labels[j]
        if self.mark == "slice":
            word, more = self.pick((("larger", True), ("bigger", True), ("smaller", False)))
        elif self.negative:
            word, more = "higher", True
        else:
            word, more = self.pick((("longer" if self.lying else "taller", True), ("bigger", True), ("shorter", False)))
        kind = "label compare" if more else "label compare less"
        fields = {"label": one, "other": two, "taller": word, "wanted": self.mark}
        if self.chance(ABSENT):
            return self._missing(kind, fields, self.pick(("yes", "no")))
        if not self.differ(self.values[0, i], self.values[0, j]):
            return None
        if not self.known(one, two):
            return self.unread(kind, fields, self.pick(("yes", "no")))
        answer = "yes" if (self.values[0, i] > self.values[0, j]) == more else "no"
        return Made(kind, fields, answer, None, ((0, self.of(0, i)), (0, self.of(0, j))))

    def _missing(self, kind: str, fields: dict[str, str], guess: str, field: str = "label") -> Made:
        """The question about a label, or a series, that the chart does not have."""
        taken = {*self.labels, *self.series}
        pool = LABELS if field == "label" else SERIES
        if field == "label" and self.labels and len(self.labels[0]) == 1 and self.labels[0].isalpha():
            pool = [chr(65 + i) for i in range(26)]
        word = self.pick([word for word in pool if word not in taken])
        return Made(kind, fields | {field: word}, UNKNOWN, guess)

    def value(self) -> Made | None:
        """What is the value of D?"""
        told = [i for i in self.every if self.valued(i)] or self.every
        i, other = self.pick(told), self.pick(told)
        series, label = self.cells[i]
        fields = {"label": self.labels[label], "item": self.series[series], "wanted": self.mark}
        kind = "group value" if self.several else "bar value"
        if self.read is not None and self.chance(0.08):
            return self._missing(kind, fields, self._some_number())
        made = self._valued(kind, fields, i)
        if made is None or made.guess is not None or self.several or other == i or not self.chance(0.3):
            return made
        follow = self._valued("follow value", {"label": self.labels[self.cells[other][1]]}, other)
        if follow is None or follow.guess is not None:
            return made
        return Made(made.kind, made.fields, made.answer, None, made.looks, made.among, made.copied, follow)

    def _valued(self, kind: str, fields: dict[str, str], i: int) -> Made | None:
        if self.read is None:
            return self.unread(kind, fields, self._some_number(), 0.12)
        text = self.valued(i)
        label = fields.get("label")
        if text is None or (label and not self.known(label)) or (self.several and not self.readable(fields["item"])):
            return None
        return Made(kind, fields, text, None, ((0, (i,)),), None, text)

    def _some_number(self) -> str:
        written = [text for text in self.picture.facts["printed"] if text]
        return self.pick(written or [text for _, text in self.picture.facts["ticks"]] or ["10", "25"])

    def colour_value(self) -> Made | None:
        """What is the value of the red bar?"""
        if not self.apart:
            return None
        i = self.pick(self.every)
        if self.read is not None and self.chance(0.1):
            return Made("colour value", {"tint": self.absent(), "wanted": self.mark}, UNKNOWN, self._some_number())
        return self._valued("colour value", {"tint": self.tint(self.colours[i]), "wanted": self.mark}, i)

    def extreme_value(self) -> Made | None:
        """What is the highest value?"""
        top = self.chance(0.6)
        i = self.extreme(top)
        if i is None or self.several:
            return None
        fields = {"most": self.most(top), "extreme": self.words(top), "wanted": self.mark}
        made = self._valued("extreme value", fields, i)
        return made and Made(
            made.kind, fields, made.answer, made.guess, made.looks, self.every if made.looks else None, made.copied
        )

    def label_colour(self) -> Made | None:
        """What colour is the bar for Mon?"""
        i = self.pick(self.every)
        fields = {"label": self.labels[self.cells[i][1]], "wanted": self.mark}
        if self.chance(ABSENT):
            return self._missing("label colour", fields, self.pick(self.colours))
        if not self.known(fields["label"]):
            return self.unread("label colour", fields, self.pick(self.colours))
        return Made("label colour", fields, self.colours[i], None, ((0, (i,)),))

    def colour_label(self) -> Made | None:
        """Which category is the red bar?"""
        i = self.pick(self.every)
        fields = {"tint": self.tint(self.colours[i]), "wanted": self.mark}
        if self.chance(ABSENT):
            return Made("colour label", fields | {"tint": self.absent()}, UNKNOWN, self.pick(self.labels))
        label = self.labels[self.cells[i][1]]
        if self.lettered and not self.readable(label):
            return Made("colour label", fields, label, None, ((0, (i,)),), self.every)
        return self.copy("colour label", fields, label, self.pick(self.labels), ((0, (i,)),))

    def place(self) -> Made | None:
        """What is the first category?"""
        if self.mark == "slice":
            return None
        at = self.pick([*range(min(3, len(self.labels))), -1, -1])
        fields = {"extreme": PLACES[at] if at >= 0 else "last"}
        looks = ((0, self.of(label=at % len(self.labels))),)
        return self.copy("place label", fields, self.labels[at], self.pick(self.labels), looks)

    def _series_fields(self, s: int) -> dict[str, str]:
        return {"item": self.series[s], "wanted": self.mark}

    def series_colour(self) -> Made | None:
        """What colour is the line for Sales?"""
        if not self.picture.facts["legend"]:
            return None
        s, t = self.two(len(self.series))
        shades = [self.colours[self.of(k)[0]] for k in range(len(self.series))]
        if self.chance(ABSENT):
            return self._missing("series colour", self._series_fields(s), self.pick(shades), "item")
        if not self.readable(self.series[s]):
            return self.unread("series colour", self._series_fields(s), self.pick(shades))
        follow = None
        if self.readable(self.series[t]) and self.chance(0.35):
            follow = Made("follow series", {"item": self.series[t]}, shades[t], None, ((0, self.of(t)),))
        return Made("series colour", self._series_fields(s), shades[s], None, ((0, self.of(s)),), follow=follow)

    def colour_series(self) -> Made | None:
        """Which series is red?"""
        if not self.picture.facts["legend"]:
            return None
        s = int(self.rng.integers(len(self.series)))
        fields = self._series_fields(s) | {"tint": self.tint(self.colours[self.of(s)[0]])}
        if self.chance(ABSENT):
            return Made("colour series", fields | {"tint": self.absent()}, UNKNOWN, self.pick(self.series))
        return self.copy("colour series", fields, self.series[s], self.pick(self.series), ((0, self.of(s)),))

    def group_extreme(self) -> Made | None:
        """Which group has the highest value in category B?"""
        top, j = self.chance(0.55), int(self.rng.integers(len(self.labels)))
        among = self.of(label=j)
        i = self.extreme(top, among)
        fields = {"most": self.most(top), "label": self.labels[j]}
        if i is None:
            return None
        by_colour = self.chance(0.4) or not self.picture.facts["legend"]
        answer = self.colours[i] if by_colour else self.series[self.cells[i][0]]
        kind = "group colour" if by_colour else "group extreme"
        pool = [self.colours[k] for k in among] if by_colour else self.series
        if self.chance(0.1):
            return self._missing(kind, fields, self.pick(pool))
        if not self.known(self.labels[j]) or (not by_colour and not self.readable(answer)):
            return self.unread(kind, fields, self.pick(pool))
        return Made(kind, fields, answer, None, ((0, (i,)),), among, "" if by_colour else answer)

    def series_extreme(self) -> Made | None:
        """Which category has the highest value of Sales?"""
        if not self.picture.facts["legend"]:
            return None
        top, s = self.chance(0.55), int(self.rng.integers(len(self.series)))
        among = self.of(s)
        i = self.extreme(top, among)
        if i is None:
            return None
        fields, label = {"most": self.most(top), "item": self.series[s]}, self.labels[self.cells[i][1]]
        if self.chance(0.1):
            return self._missing("series extreme", fields, self.pick(self.labels), "item")
        if not self.readable(self.series[s]) or not self.known(label):
            return self.unread("series extreme", fields, self.pick(self.labels))
        copied = label if self.readable(label) else ""
        return Made("series extreme", fields, label, None, ((0, (i,)),), among, copied)

    def group_compare(self) -> Made | None:
        """Is Sales greater than Costs in May?"""
        if not self.picture.facts["legend"]:
            return None
        j, (s, t) = int(self.rng.integers(len(self.labels))), self.two(len(self.series))
        (one,), (two,) = self.of(s, j), self.of(t, j)
        fields = {"label": self.labels[j], "item": self.series[s], "other": self.series[t]}
        if self.chance(ABSENT):
            return self._missing("group compare", fields, self.pick(("yes", "no")), self.pick(("label", "item")))
        if not self.differ(self.amount(one), self.amount(two)):
            return None
        if not self.known(self.labels[j]) or not self.readable(self.series[s], self.series[t]):
            return self.unread("group compare", fields, self.pick(("yes", "no")))
        answer = "yes" if self.amount(one) > self.amount(two) else "no"
        return Made("group compare", fields, answer, None, ((0, (one,)), (0, (two,))))

    def trend(self) -> Made | None:
        """Does the red line go up or down?"""
        s = int(self.rng.integers(len(self.series)))
        if self.chance(ABSENT):
            return Made("trend", {"obj": f"{self.absent()} line"}, UNKNOWN, self.pick(("up", "down")))
        way = self._way(s)
        if way is None:
            return None
        name = f"{self.tint(self.colours[s])} line"
        if not self.several:
            name = self.pick(("line", name))
        elif self.picture.facts["legend"] and self.readable(self.series[s]) and self.chance(0.3):
            name = f"line for {self.series[s]}"
        follow = None
        if self.several and self.chance(0.35):
            t = self.pick([k for k in range(len(self.series)) if k != s])
            other = self._way(t)
            if other:
                follow = Made("follow trend", {"tint": self.tint(self.colours[t])}, other, None, ((0, (t,)),))
        return Made("trend", {"obj": name}, way, None, ((0, (s,)),), follow=follow)

    def _way(self, s: int) -> str | None:
        """Whether a line goes up or down, if it does so by most of its steps and by much."""
        row = self.values[s]
        change = float(row[-1] - row[0])
        along = float(np.corrcoef(np.arange(len(row)), row)[0, 1]) if row.std() else 0.0
        if abs(change) < 12 * self.pixel or abs(along) < 0.7 or along * change < 0:
            return None
        return "up" if change > 0 else "down"
