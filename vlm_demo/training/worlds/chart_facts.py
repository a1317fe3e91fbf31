"""Chart facts: one chart's marks, how they are named, and what can be seen or read of them."""

from __future__ import annotations

import re

import numpy as np

from vlm_demo.training.worlds.world import COLOURS, MARKS, Picture

SEEN = 224  # the models see a picture padded to a square of so many pixels
NAMED = [name for name in COLOURS if name not in ("white", "black")]


class ChartFacts:
    """What can be said of a chart; ``rng`` decides between ways that are equally good."""

    def __init__(self, picture: Picture, rng: np.random.Generator, read: list[str] | None) -> None:
        self.picture, self.rng, self.read = picture, rng, read
        facts = picture.facts
        self.things = picture.things
        self.kind: str = facts["chart"]
        self.labels: list[str] = facts["labels"]
        self.series: list[str] = facts["series"]
        self.values = np.array(facts["values"])
        self.cells: list[tuple[int, int]] = facts["cells"]
        self.lying: bool = facts["lying"]
        self.every = tuple(range(len(self.things)))
        self.mark = next(mark for mark in MARKS if self.things[0].shape == mark)
        self.several = len(self.series) > 1
        self.colours = [thing.colour for thing in self.things]
        self.apart = len(set(self.colours)) == len(self.colours)
        self.pixel: float = facts["pixel"] * max(picture.image.size) / SEEN
        self.lettered = self.mark != "slice" and self.labels == [chr(65 + i) for i in range(len(self.labels))]
        self.negative = bool(self.values.min() < 0)

    def pick(self, options):
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def two(self, n: int) -> tuple[int, int]:
        """Two different numbers below n."""
        i, j = self.rng.choice(n, 2, replace=False)
        return int(i), int(j)

    def chance(self, share: float) -> bool:
        """True in this share of the cases."""
        return bool(self.rng.random() < share)

    def readable(self, *words: str) -> bool:
        """Whether OCR read all these words, each as a whole."""
        lines = "\n".join(self.read or [])
        return all(word and re.search(rf"(?<![\w.,-]){re.escape(word)}(?![\w%]|[.,]\d)", lines) for word in words)

    def known(self, *labels: str) -> bool:
        """Whether the places of these labels can be told: OCR read them, or they are A, B, C … in order."""
        return self.lettered or self.readable(*labels)

    def amount(self, i: int) -> float:
        """The value of a bar, a slice or a point."""
        series, label = self.cells[i]
        return float(self.values[series, label])

    def differ(self, a: float, b: float) -> bool:
        """Whether two values differ so much that it is seen."""
        if self.mark == "slice" and abs(a - b) < 0.15 * max(a, b):
            return False
        return abs(a - b) > 3 * self.pixel

    def outstanding(self, values: list[float], top: bool) -> int | None:
        """The index of the highest or lowest value, if it stands out."""
        if len(values) < 2:
            return None
        order = np.argsort(values)[::-1] if top else np.argsort(values)
        return int(order[0]) if self.differ(values[order[0]], values[order[1]]) else None

    def extreme(self, top: bool, among: tuple[int, ...] | None = None) -> int | None:
        """The thing with the highest or lowest value, if it stands out."""
        things = self.every if among is None else among
        i = self.outstanding([self.amount(i) for i in things], top)
        return None if i is None else things[i]

    def of(self, series: int | None = None, label: int | None = None) -> tuple[int, ...]:
        """The things of a series, of a label, or of both."""
        return tuple(
            i
            for i, (s, j) in enumerate(self.cells)
            if (series is None or s == series) and (label is None or j in (label, -1))
        )

    def painted(self, colour: str) -> tuple[int, ...]:
        """The things of this colour."""
        return tuple(i for i in self.every if self.colours[i] == colour)

    def absent(self) -> str:
        """A colour that no mark has."""
        return self.pick([name for name in NAMED if name not in self.colours] or ["white"])

    def tint(self, colour: str) -> str:
        """The colour's name in one of its spellings."""
        return self.pick(("gray", "grey")) if colour == "gray" else colour

    def words(self, top: bool) -> str:
        """Such as "tallest": what the mark with the highest or lowest value is."""
        if self.mark == "slice":
            return self.pick(("largest", "biggest") if top else ("smallest", "tiniest"))
        if self.negative or self.mark == "line":
            return "highest" if top else "lowest"
        if self.lying:
            return self.pick(("longest", "longest", "biggest", "largest") if top else ("shortest", "smallest"))
        return self.pick(
            ("tallest", "tallest", "highest", "biggest") if top else ("shortest", "shortest", "lowest", "smallest")
        )

    def most(self, top: bool) -> str:
        """Such as "highest": what a value is."""
        return self.pick(("highest", "largest", "greatest") if top else ("lowest", "smallest"))

    def valued(self, i: int) -> str | None:
        """A thing's value as OCR read it: where it is printed, else at the tick that it reaches; None = neither."""
        printed = self.picture.facts["printed"][i]
        if printed:
            return printed if self.readable(printed) else None
        return None if self.mark == "slice" or self.kind == "stacked bar chart" else self.at_tick(self.amount(i))

    def at_tick(self, value: float) -> str | None:
        """The tick at which a value lies, as OCR read it."""
        for tick, text in self.picture.facts["ticks"]:
            if tick and abs(value - tick) <= min(0.03 * abs(tick), 1.5 * self.pixel) and self.readable(text):
                return str(text)
        return None
