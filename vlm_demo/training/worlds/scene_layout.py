"""Scene layout: the size of a scene, and the positions of its shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Box = tuple[int, int, int, int]
# How often each layout is drawn: anywhere, in rows, on noisy black, nine cells, in boxes, towers in boxes.
LAYOUTS = {"free": 0.51, "rows": 0.09, "dark": 0.19, "cells": 0.07, "boxes": 0.10, "towers": 0.04}
MANY = np.array([12, 18, 18, 16, 12, 9, 6, 4, 2, 1, 1, 1], dtype=float) / 100  # of 1 to 12 shapes
# Sizes of plain scenes.
PLAIN = ((224, 224), (256, 256), (300, 200), (320, 240), (400, 300), (400, 400), (512, 384), (640, 480), (200, 200))


@dataclass(frozen=True)
class Place:
    """Where a shape shall be: its middle, half its longer side, and the box that it must stay in."""

    x: float
    y: float
    radius: float
    box: Box


def choose_layout(rng: np.random.Generator, size: tuple[int, int] | None, large: bool) -> str:
    names = [name for name in LAYOUTS if not (size or large) or name in ("free", "rows", "dark")]
    shares = np.array([LAYOUTS[name] for name in names])
    return str(rng.choice(names, p=shares / shares.sum()))


def canvas_size(rng: np.random.Generator, layout: str) -> tuple[int, int]:
    if layout in ("boxes", "towers"):
        height = 100 if rng.random() < 0.5 else int(rng.integers(70, 240))
        return int(height * (4 if rng.random() < 0.5 else rng.uniform(2.4, 5))), height
    if layout == "plain":
        return PLAIN[int(rng.integers(len(PLAIN)))]
    if layout == "cells":
        side = 30 if rng.random() < 0.6 else int(rng.integers(30, 91))
        return side, side
    if layout == "dark":
        side = 64 if rng.random() < 0.6 else int(rng.integers(48, 200))
        return side, side
    longer = int(rng.choice([*range(30, 100, 10), 100, 128, 224, 256, 320, 400, 500, 640]))
    if rng.random() < 0.02:
        longer = int(rng.integers(800, 1501))
    ratio = rng.choice([1.0, 1.0, 4 / 3, 3 / 2, 16 / 9, 500 / 240, float(rng.uniform(1, 4))])
    shorter = max(24, int(longer / ratio))
    return (longer, shorter) if rng.random() < 0.7 else (shorter, longer)


def boxes_in_a_row(rng: np.random.Generator, width: int, height: int) -> tuple[Box, ...]:
    n = int(rng.choice([2, 3, 4], p=[0.12, 0.76, 0.12]))
    gap = (width - n * height) // (n - 1)
    if not 0.06 * height < gap < height:
        gap = int(width * rng.uniform(0.03, 0.12))
    side = (width - gap * (n - 1)) // n
    return tuple((i * (side + gap), 0, i * (side + gap) + side, height) for i in range(n))


def place_shapes(rng: np.random.Generator, layout: str, canvas: Box, boxes: Sequence[Box], large: bool) -> list[Place]:
    width, height = canvas[2:]
    if layout == "towers":
        return _towers(rng, boxes)
    if layout == "plain":
        count = int(rng.choice([1, 2, 3, 4, 5], p=[0.05, 0.25, 0.32, 0.22, 0.16]))
        return _scattered(rng, canvas, min(width, height) * (0.4 - 0.05 * count) * rng.uniform(0.6, 1, count), 1.15)
    if layout == "boxes":
        sizes = (0.05, 0.1, 0.15) if rng.random() < 0.5 else [(0.05, 0.11), (0.06, 0.14)][int(rng.integers(2))]
        radii = np.array(sizes) * min(height, boxes[0][2])
        counts = rng.integers(0, 9, len(boxes)) if rng.random() < 0.8 else rng.integers(1, 4, len(boxes))
        counts[int(rng.integers(len(boxes)))] += int(counts.sum() == 0)
        box_counts = zip(boxes, counts, strict=True)
        return [place for box, n in box_counts for place in _scattered(rng, box, rng.choice(radii, n), 1.1)]
    if layout == "cells":
        return _cells(rng, canvas, 3, 3, rng.random(9) < rng.uniform(0.55, 1.05), [0.26, 0.4])
    count = 1 + int(rng.choice(12, p=MANY))
    count = min(count, 4) if large else min(count, 8) if layout == "dark" else count
    if layout == "rows":
        rows = 1 + int(rng.integers(3))
        columns = max(2, min(6, round(rows * width / height)))
        filled_cells = rng.permutation(rows * columns) < count + 2
        radius = rng.uniform(0.24, 0.42)
        choices = [radius * 0.55, radius] if rng.random() < 0.3 else [radius]
        return _cells(rng, canvas, columns, rows, filled_cells, choices)
    shorter = min(width, height)
    limits = (0.12, 0.3) if large else (0.07, 0.2) if layout == "dark" else (0.05, 0.3 if count < 5 else 0.18)
    low, high = sorted(rng.uniform(*limits, 2))
    radii = shorter * rng.uniform(low, max(high, low + 0.02), count)
    if rng.random() < 0.3 and low * 1.8 < 0.3:  # two sizes
        radii = shorter * low * rng.choice([1.0, rng.uniform(1.8, 2.4)], count) * rng.uniform(0.95, 1.05, count)
    spacing = 1.12 if rng.random() < (0.6 if layout == "dark" else 0.85) else 0.62
    return _scattered(rng, canvas, np.maximum(radii, 3.0), spacing)


def _scattered(rng: np.random.Generator, box: Box, radii: np.ndarray, spacing: float) -> list[Place]:
    """Places anywhere in the box, their distances at least ``spacing`` times their radii's sum; at least one."""
    x0, y0, x1, y1 = box
    placed: list[Place] = []
    for radius in radii:
        for _ in range(25):
            if min(x1 - x0, y1 - y0) <= 2.1 * radius:
                break
            x, y = rng.uniform(x0 + radius, x1 - radius), rng.uniform(y0 + radius, y1 - radius)
            if all(math.hypot(x - p.x, y - p.y) > spacing * (radius + p.radius) for p in placed):
                placed.append(Place(x, y, float(radius), box))
                break
    if not placed and len(radii):
        placed.append(Place((x0 + x1) / 2, (y0 + y1) / 2, min(x1 - x0, y1 - y0) * 0.25, box))
    return placed


def _cells(
    rng: np.random.Generator, canvas: Box, columns: int, rows: int, filled: np.ndarray, sizes: Sequence[float]
) -> list[Place]:
    """The middles of the filled cells of a table; ``sizes`` are the shapes' radii as shares of a cell."""
    cell_width, cell_height = canvas[2] / columns, canvas[3] / rows
    cell = min(cell_width, cell_height)
    filled[int(rng.integers(len(filled)))] |= not filled.any()
    return [
        Place(
            (i % columns + 0.5 + rng.uniform(-0.05, 0.05)) * cell_width,
            (i // columns + 0.5 + rng.uniform(-0.05, 0.05)) * cell_height,
            max(3.0, cell * float(rng.choice(sizes))),
            canvas,
        )
        for i in np.flatnonzero(filled)
    ]


def _towers(rng: np.random.Generator, boxes: Sequence[Box]) -> list[Place]:
    """Stacks of blocks that stand on the ground in the middle of their boxes, with a hair between the blocks."""
    places = []
    for box in boxes:
        x0, _, x1, y1 = box
        step = y1 * 0.2 + 1
        for level in range(int(rng.integers(1, 5))):
            places.append(Place((x0 + x1) / 2, y1 - (level + 0.5) * step, y1 * 0.1 / 0.9, box))
    return places
