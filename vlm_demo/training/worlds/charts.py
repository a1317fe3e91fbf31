"""Charts: bars, lines, slices and points drawn by seed, with every mark's value, colour and label."""

from __future__ import annotations

import numpy as np

from vlm_demo.training.worlds.chart_data import chart_data
from vlm_demo.training.worlds.chart_painter import paint, plain, vector
from vlm_demo.training.worlds.chart_plotter import plot
from vlm_demo.training.worlds.world import Picture

PLOTTED = 0.04  # the share that matplotlib draws: it is slow


def draw_chart(rng: np.random.Generator, held_out: bool = False) -> Picture:
    """A chart, half of the time one with simple bars; its ``facts`` are those of `chart_marks.as_picture`."""
    size = _size(rng)
    chart = chart_data(rng, size)
    if held_out or rng.random() < PLOTTED:
        return plot(chart, size, rng, held_out)
    return paint(chart, size, (plain if rng.random() < 0.5 else vector)(chart, size, rng))


def _size(rng: np.random.Generator) -> tuple[int, int]:
    longer = float(
        rng.choice([rng.uniform(200, 420), rng.uniform(400, 660), rng.uniform(640, 900)], p=[0.55, 0.35, 0.1])
    )
    shorter = max(160.0, longer / rng.choice([1.0, 1.25, 4 / 3, 3 / 2, 16 / 9, rng.uniform(1, 3.5)]))
    return (int(longer), int(shorter)) if rng.random() < 0.66 else (int(shorter), int(longer))
