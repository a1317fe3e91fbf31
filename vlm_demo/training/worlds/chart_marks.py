"""Chart marks: where the bars, lines, slices and points of a chart lie, for every renderer that draws them itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vlm_demo.training.worlds.chart_data import NAMES, ROUND, Chart
from vlm_demo.training.worlds.chart_sheet import Printed, as_lines
from vlm_demo.training.worlds.printed import texts
from vlm_demo.training.worlds.world import Picture, Thing

SHAPE = {
    "bar": "bar", "grouped": "bar", "stacked": "bar", "line": "line", "pie": "slice", "donut": "slice",
    "scatter": "point",
}  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """One mark: its series and label (-1 = all of the series), its outline, and its value as printed, or ""."""

    series: int
    label: int
    outline: np.ndarray
    printed: str = ""


@dataclass(frozen=True)
class Frame:
    """The rectangle in which the axes lie, in pixels."""

    left: float
    top: float
    right: float
    bottom: float
    chart: Chart

    @property
    def length(self) -> float:
        """Of the value axis."""
        return self.right - self.left if self.chart.lying else self.bottom - self.top

    def at(self, along: float, value: float) -> tuple[float, float]:
        """The place of a value and of a share 0..1 of the label axis."""
        share = (value - self.chart.low) / (self.chart.high - self.chart.low)
        if self.chart.lying:
            return self.left + share * (self.right - self.left), self.top + along * (self.bottom - self.top)
        return self.left + along * (self.right - self.left), self.bottom - share * (self.bottom - self.top)

    def middle(self, label: int) -> float:
        """Of a label's slot, as a share of the label axis."""
        return (label + 0.5) / max(1, len(self.chart.labels))


def bars(frame: Frame, thick: float) -> Iterator[tuple[int, int, float, float, float, float]]:
    """Series, label, and the bar's two ends on the label axis and on the value axis."""
    chart = frame.chart
    n, count = len(chart.labels), len(chart.series)
    for j in range(n):
        below = 0.0
        for i in range(count):
            value = float(chart.values[i, j])
            if chart.kind == "grouped":
                width = thick / n / count
                start = frame.middle(j) + (i - count / 2) * width
            else:
                width = thick / n
                start = frame.middle(j) - width / 2
            base = below if chart.kind == "stacked" else 0.0
            yield i, j, start, start + width, base, base + value
            below += value


def wedges(chart: Chart, centre, radius: float, hole: float, start: float, clockwise: bool) -> list[np.ndarray]:
    """The outlines of the slices; ``hole`` is the share of the radius that a donut leaves open."""
    ends = np.concatenate([[0], np.cumsum(chart.values[0])]) / chart.values[0].sum() * 2 * math.pi
    outlines = []
    for a, b in zip(ends[:-1], ends[1:], strict=True):
        angles = start + np.linspace(a, b, max(3, int((b - a) * 12) + 2)) * (1 if clockwise else -1)
        ring = np.stack([np.cos(angles), np.sin(angles)], 1) * radius
        inner = ring[::-1] * hole if hole else np.zeros((1, 2))
        outlines.append(np.concatenate([ring, inner]) + np.asarray(centre))
    return outlines


def as_picture(
    chart: Chart, image: Image.Image, marks: list[Mark], printed: list[Printed], length: float, ticks: list[float]
) -> Picture:
    """The picture with what is true of it.

    Args:
        length: of the value axis in pixels.
        ticks: the values that are printed at the axis.

    ``facts``: ``chart`` (what it is called), ``labels`` and ``series`` as printed, ``values`` [series][label],
    ``cells`` (series and label of each thing, label -1 for a whole series), ``printed`` (the value of each thing as
    printed, or ""), ``lying``, ``legend``, ``title``, ``titles`` (of the label and of the value axis), ``ticks`` (value
    and text), ``pixel`` (what one pixel of the picture is worth on the value axis), ``words``, ``texts``.
    """
    things = []
    for mark in marks:
        words = [chart.labels[mark.label]] if chart.labels and mark.label >= 0 else []
        words += [chart.series[mark.series]] if chart.series[mark.series] else []
        colour = chart.colours[mark.series][mark.label]
        things.append(Thing(SHAPE[chart.kind], colour, np.asarray(mark.outline, dtype=float), text=" / ".join(words)))
    span = float(chart.values.sum()) if chart.kind in ROUND else chart.high - chart.low
    lines = as_lines(printed)
    facts: dict[str, Any] = {
        "chart": NAMES[chart.kind],
        "labels": list(chart.labels),
        "series": list(chart.series),
        "values": chart.values.tolist(),
        "cells": [(mark.series, mark.label) for mark in marks],
        "printed": [mark.printed for mark in marks],
        "lying": chart.lying,
        "legend": chart.legend,
        "title": chart.title,
        "titles": (chart.label_title, chart.value_title),
        "ticks": [(value, chart.written(value)) for value in ticks],
        "pixel": span / length,
        "words": lines,
        "texts": texts(lines),
    }
    return Picture("charts", image, tuple(things), facts)
