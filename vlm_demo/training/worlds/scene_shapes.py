"""Scene shapes: the outline of each shape and how it is painted, filled, hollow or outlined."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw

RGB = tuple[int, int, int]

# A turned square must not become a diamond, so some shapes only lean a little.
LEAN = {"square": 0.3, "diamond": 0.2, "rectangle": 0.5, "cross": 0.3, "heart": 0.4, "star": 0.6, "ellipse": 0.5}


def unit_outline(shape: str, rng: np.random.Generator) -> np.ndarray:
    """The shape's polygon [n, 2] around the origin, its longer side about 2 long."""
    if shape == "circle":
        return _ring(36)
    if shape == "square":
        return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.9
    if shape == "triangle":
        return np.array([(0, -0.95), (1, 0.85), (-1, 0.85)]) if rng.random() < 0.7 else _ring(3)
    if shape == "star":
        points = _ring(10)
        points[1::2] *= rng.uniform(0.38, 0.5)
        return points
    if shape == "rectangle":
        return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (1, rng.uniform(0.35, 0.62))
    if shape == "diamond":
        width = rng.uniform(0.6, 0.8)
        return np.array([(0, -1), (width, 0), (0, 1), (-width, 0)])
    if shape == "cross":
        w = rng.uniform(0.28, 0.4)
        quarter = np.array([(-w, -1), (w, -1), (w, -w)])
        return np.concatenate([turned(quarter, k * math.pi / 2) for k in range(4)])
    if shape == "heart":
        t = np.linspace(0, 2 * math.pi, 36, endpoint=False)
        y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
        return np.stack([16 * np.sin(t) ** 3, y], 1) / 16
    if shape == "ellipse":
        return _ring(36) * (1, rng.uniform(0.45, 0.7))
    if shape == "pentagon":
        return _ring(5)
    if shape == "hexagon":
        return _ring(6, turn=float(rng.choice([0, math.pi / 6])))
    if shape == "semicircle":
        angles = np.linspace(0, math.pi, 20)
        return np.stack([np.cos(angles), 0.5 - np.sin(angles)], 1)
    if shape == "arrow":
        shaft, head = rng.uniform(0.18, 0.32), rng.uniform(0.55, 0.8)
        return np.array([(-1, -shaft), (0.15, -shaft), (0.15, -head), (1, 0), (0.15, head), (0.15, shaft), (-1, shaft)])
    if shape == "crescent":
        depth = rng.uniform(0.55, 0.85)
        outer = np.linspace(math.pi / 3, 5 * math.pi / 3, 24)
        inner = np.linspace(-math.pi / 2, -3 * math.pi / 2, 20)[1:-1]
        back = np.stack([0.5 + depth * np.cos(inner), math.sin(math.pi / 3) * np.sin(inner)], 1)
        return np.concatenate([np.stack([np.cos(outer), np.sin(outer)], 1), back]) + (0.25, 0)
    raise ValueError(f"unknown shape {shape!r}")


def turned(outline: np.ndarray, angle: float) -> np.ndarray:
    """The outline turned around the origin."""
    c, s = math.cos(angle), math.sin(angle)
    return outline @ np.array([(c, s), (-s, c)])


def paint(
    image: Image.Image, outline: np.ndarray, rgb: RGB, hollow: float = 0, edge: RGB | None = None, line: float = 0
) -> None:
    """Draw the shape: filled, or with ``hollow`` only a border that wide; ``edge`` is the colour of a thin ``line``
    around it."""
    polygon = [(float(x), float(y)) for x, y in outline]
    if hollow:
        _border(image, polygon, rgb, hollow)
    else:
        ImageDraw.Draw(image).polygon(polygon, fill=rgb)
    if edge:
        _border(image, polygon, edge, line)


def _border(image: Image.Image, polygon: list[tuple[float, float]], rgb: RGB, width: float) -> None:
    """Draw the inner part of a line along the polygon, so that the outline stays what it was."""
    x0, y0 = (int(math.floor(min(axis))) for axis in zip(*polygon, strict=True))
    x1, y1 = (int(math.ceil(max(axis))) + 1 for axis in zip(*polygon, strict=True))
    local_polygon = [(x - x0, y - y0) for x, y in polygon]
    inside, line = Image.new("L", (x1 - x0, y1 - y0)), Image.new("L", (x1 - x0, y1 - y0))
    ImageDraw.Draw(inside).polygon(local_polygon, fill=255)
    closed = [*local_polygon, *local_polygon[:2]]
    ImageDraw.Draw(line).line(closed, fill=255, width=max(2, round(2 * width)), joint="curve")
    image.paste(rgb, (x0, y0, x1, y1), ImageChops.darker(inside, line))


def _ring(n: int, turn: float = -math.pi / 2) -> np.ndarray:
    angles = turn + np.arange(n) * 2 * math.pi / n
    return np.stack([np.cos(angles), np.sin(angles)], 1)
