"""Chart data: the contents of a chart, labels, series, values and colours, before it is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlm_demo.training.worlds.values import WORDS, Values
from vlm_demo.training.worlds.world import COLOURS, drawn_colour

NAMES = {
    "bar": "bar chart", "grouped": "grouped bar chart", "stacked": "stacked bar chart", "line": "line chart",
    "pie": "pie chart", "donut": "donut chart", "scatter": "scatter plot",
}  # fmt: skip
ROUND = ("pie", "donut")
MIN_COLOUR_DISTANCE = 70  # between the colours of two marks, and of a mark and the background, of 0..441


@dataclass(frozen=True)
class ChartData:
    """The contents of a chart.

    Attributes:
        values: [series, labels]; of a scatter plot [series, points].
        colours: names, per series and label.
        rgbs: these as 0..1.
    """

    kind: str
    horizontal: bool
    labels: list[str]
    series: list[str]
    values: np.ndarray
    colours: list[list[str]]
    rgbs: list[list[tuple[float, ...]]]


def chart_data(values: Values, kind: str, size: tuple[int, int], background: Sequence[float]) -> ChartData:
    rng = values.rng
    horizontal = kind in ("bar", "grouped", "stacked") and values.chance(0.28)
    count = 1 if kind in ("bar", *ROUND) else int(rng.integers(2 if kind in ("grouped", "stacked") else 1, 5))
    max_labels = int(size[1] / 26 if horizontal else size[0] / 40) // (count if kind == "grouped" else 1)
    n = int(np.clip(rng.integers(2, 11), 3 if kind == "line" else 2, np.clip(max_labels, 3, 8)))
    labels = _labels(values, n)
    top = float(rng.choice([1, 10, 40, 100, 500, 1000, 20000]))
    if kind == "scatter":
        n, labels = int(rng.integers(4, 14)), []
    shares = np.stack([_distinct(n, rng) for _ in range(count)])
    if kind == "line" and values.chance(0.7):
        slopes = rng.uniform(-0.8, 0.8, (count, 1)) * np.linspace(-0.5, 0.5, n)
        shares = np.clip(0.5 + slopes + rng.normal(0, 0.08, (count, n)), 0.05, 1)
    amounts = np.round(shares, 1) if values.chance(0.4) and kind != "stacked" else shares
    amounts = np.round(np.maximum(amounts, 0.05) * top, 2 if top <= 1 else 1 if top <= 10 else 0)
    if kind in ("bar", "grouped") and values.chance(0.12):
        amounts *= np.where(rng.random((count, n)) < 0.35, -1, 1)
    series = [""] if count == 1 else [str(name) for name in values.several(WORDS["series"], count)]
    by_label = kind in ROUND or (kind == "bar" and values.chance(0.62))
    colours, rgbs = _paint(values, n if by_label else count, background)
    if by_label:
        return ChartData(kind, horizontal, labels, series, amounts, [colours] * count, [rgbs] * count)
    return ChartData(kind, horizontal, labels, series, amounts, [[c] * n for c in colours], [[c] * n for c in rgbs])


def _labels(values: Values, n: int) -> list[str]:
    runs = [run.split() for run in WORDS["runs"] if len(run.split()) >= n]
    if values.chance(0.5):
        run = values.pick(runs)
        start = int(values.rng.integers(len(run) - n + 1))
        return list(run[start : start + n])
    people = [values.faker.unique.first_name() for _ in range(n)]
    values.faker.unique.clear()
    pools = [values.several(WORDS[name], n) for name in ("labels", "goods")]
    return [str(label) for label in values.pick((*pools, people))]


def _distinct(n: int, rng: np.random.Generator) -> np.ndarray:
    """Values in 0..1 whose largest and smallest stand out."""
    for _ in range(60):
        shares = rng.uniform(0.06, 1, n)
        order = np.sort(shares)
        if n < 3 or min(order[-1] - order[-2], order[1] - order[0]) > 0.07:
            break
    return shares


def _paint(values: Values, count: int, background: Sequence[float]) -> tuple[list[str], list[tuple[float, ...]]]:
    """Names and tones that differ clearly from each other and from the background."""
    while True:
        names = [str(name) for name in values.several([c for c in COLOURS if c not in ("white", "black")], count)]
        tones = [drawn_colour(name, values.rng) for name in names]
        all_tones = [tuple(255 * v for v in background), *tones]
        nearest = min(math.dist(a, b) for i, a in enumerate(all_tones) for b in all_tones[:i])
        if nearest > MIN_COLOUR_DISTANCE * 6 / (count + 5):
            return names, [tuple(v / 255 for v in tone) for tone in tones]
