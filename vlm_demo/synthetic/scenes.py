"""Scenes: coloured shapes on all sorts of backgrounds, drawn by seed, with the outline of each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vlm_demo.synthetic.world import COLOURS, SHAPES, Picture, Thing, drawn_colour


def unit_outline(shape: str, rng: np.random.Generator) -> np.ndarray:
    """The shape's polygon [n, 2] around the origin, its longer side about 2 long."""

    def ring(n: int, turn: float = -math.pi / 2, radius: float = 1.0) -> np.ndarray:
        angles = turn + np.arange(n) * 2 * math.pi / n
        return np.stack([np.cos(angles), np.sin(angles)], 1) * radius

    if shape == "circle":
        return ring(36)
    if shape == "square":
        return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.9
    if shape == "triangle":
        return np.array([(0, -0.95), (1, 0.85), (-1, 0.85)]) if rng.random() < 0.7 else ring(3)
    if shape == "star":
        inner = rng.uniform(0.38, 0.5)
        points = ring(10)
        points[1::2] *= inner
        return points
    if shape == "rectangle":
        return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (1, rng.uniform(0.35, 0.62))
    if shape == "diamond":
        w = rng.uniform(0.6, 0.8)
        return np.array([(0, -1), (w, 0), (0, 1), (-w, 0)])
    if shape == "cross":
        w = rng.uniform(0.28, 0.4)
        corners = [
            (-w, -1),
            (w, -1),
            (w, -w),
            (1, -w),
            (1, w),
            (w, w),
            (w, 1),
            (-w, 1),
            (-w, w),
            (-1, w),
            (-1, -w),
            (-w, -w),
        ]
        return np.array(corners)
    if shape == "heart":
        t = np.linspace(0, 2 * math.pi, 36, endpoint=False)
        x = 16 * np.sin(t) ** 3
        y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
        return np.stack([x, y], 1) / 16
    if shape == "ellipse":
        return ring(36) * (1, rng.uniform(0.45, 0.7))
    if shape == "pentagon":
        return ring(5)
    if shape == "hexagon":
        return ring(6, turn=float(rng.choice([0, math.pi / 6])))
    if shape == "semicircle":
        angles = np.linspace(0, math.pi, 20)
        return np.stack([np.cos(angles), 0.5 - np.sin(angles)], 1)
    if shape == "arrow":
        shaft, head = rng.uniform(0.18, 0.32), rng.uniform(0.55, 0.8)
        return np.array(
            [(-1, -shaft), (0.15, -shaft), (0.15, -head), (1, 0), (0.15, head), (0.15, shaft), (-1, shaft)]
        )
    if shape == "crescent":
        bite = rng.uniform(0.35, 0.55)
        outer = np.linspace(math.pi / 3, 5 * math.pi / 3, 24)
        tip = (math.cos(math.pi / 3), math.sin(math.pi / 3))
        inner = np.linspace(-math.pi / 2, -3 * math.pi / 2, 20)
        back = np.stack([tip[0] + (1 - bite) * np.cos(inner), tip[1] * np.sin(inner)], 1)
        return np.concatenate([np.stack([np.cos(outer), np.sin(outer)], 1), back])
    raise ValueError(f"unknown shape {shape!r}")


# A turned square must not become a diamond, so some shapes only lean a little.
LEAN = {"square": 0.3, "diamond": 0.2, "rectangle": 0.5, "cross": 0.3, "heart": 0.4, "star": 0.6, "ellipse": 0.5}


def draw_scene(rng: np.random.Generator, size: tuple[int, int] | None = None, large: bool = False) -> Picture:
    """A scene of 1 to 12 shapes, on a canvas of ``size`` (width, height) or of a random one.

    ``large`` keeps to few large shapes, an easier lesson to begin with.

    ``facts``: ``background`` (a colour name or None), ``groups`` (how many boxed groups, or 0).
    """
    layout = rng.choice(["free", "grid", "groups"], p=[0.78, 0.1, 0.12])
    width, height = size or _canvas(rng, layout)
    background_name, background_rgb, image = _background(rng, width, height, layout)
    boxes = _group_boxes(width, height, rng) if layout == "groups" else []
    draw = ImageDraw.Draw(image)
    if boxes:
        r, g, b = (int(c) for c in np.clip(np.array(background_rgb) * rng.uniform(0.5, 0.8), 0, 255))
        image.paste((r, g, b), (0, 0, width, height))
        for box in boxes:
            draw.rectangle(box, fill=background_rgb)
    count = int(rng.choice(np.arange(1, 13), p=_COUNT_WEIGHTS)) if not boxes else int(rng.integers(2, 13))
    count = min(count, 4) if large else count
    places = _places(rng, layout, count, width, height, boxes, 0.12 if large else 0.06)
    palette, kinds = _restricted(rng, len(places))
    turned = rng.random() < 0.25
    outline_style = rng.random()
    hollow = rng.random() < 0.06
    things: list[Thing] = []
    for cx, cy, radius in places:
        shape = str(rng.choice(kinds))
        colour = str(rng.choice(palette))
        rgb = drawn_colour(colour, rng)
        for _ in range(6):
            if _distance(rgb, background_rgb) > 75:
                break
            colour = str(rng.choice(list(COLOURS)))
            rgb = drawn_colour(colour, rng)
        else:
            continue
        points = unit_outline(shape, rng)
        lean = LEAN.get(shape, math.pi) if turned else 0.0
        if shape == "rectangle" and rng.random() < 0.4:
            points = points[:, ::-1]
        points = points @ _rotation(rng.uniform(-lean, lean)) * radius + (cx, cy)
        edge = None
        line = max(1, round(radius * 0.12))
        if outline_style < 0.12:
            edge = (0, 0, 0) if sum(background_rgb) > 300 else (255, 255, 255)
        flat = [(float(x), float(y)) for x, y in points]
        if hollow and radius > 12 and shape != "cross":
            draw.polygon(flat, outline=rgb, width=max(3, round(radius * 0.3)))
        else:
            draw.polygon(flat, fill=rgb, outline=edge, width=line if edge else 1)
        things.append(Thing(shape, colour, np.asarray(points)))
    things = _visible_things(things, width, height)
    if rng.random() < 0.3:
        image = _soften(image, rng)
    facts: dict[str, Any] = {"background": background_name, "groups": len(boxes)}
    return Picture("scenes", image, tuple(things), facts)


_COUNT_WEIGHTS = np.array([12, 18, 18, 16, 12, 9, 6, 4, 2, 1, 1, 1], dtype=float) / 100


def _rotation(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([(c, s), (-s, c)])


def _distance(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    return float(np.linalg.norm(np.subtract(a, b)))


def _canvas(rng: np.random.Generator, layout: str) -> tuple[int, int]:
    if layout == "groups":
        height = int(rng.integers(80, 200))
        return int(height * rng.uniform(2.5, 4.2)), height
    if layout == "grid" and rng.random() < 0.3:
        side = int(rng.integers(30, 64))
        return side, side
    longer = int(rng.choice([100, 128, 224, 256, 320, 400, 500, 640]))
    ratio = rng.choice([1.0, 1.0, 4 / 3, 3 / 2, 16 / 9, 500 / 240, float(rng.uniform(1, 2.5))])
    shorter = int(longer / ratio)
    return (longer, shorter) if rng.random() < 0.75 else (shorter, longer)


def _background(rng: np.random.Generator, width: int, height: int, layout: str):
    style = rng.choice(["white", "light", "black", "any", "gradient", "noise"], p=[0.36, 0.24, 0.16, 0.1, 0.08, 0.06])
    name: str | None = None
    if style == "white":
        rgb = (255, 255, 255) if rng.random() < 0.6 else tuple(int(v) for v in rng.integers(244, 256, 3))
        name = "white"
    elif style == "light":
        base = rng.integers(200, 246)
        r, g, b = (int(v) for v in np.clip(base + rng.integers(-18, 19, 3), 0, 255))
        rgb = (r, g, b)
    elif style == "black":
        v = int(rng.integers(0, 16))
        rgb, name = (v, v, v), "black"
    elif style == "any":
        name = str(rng.choice(list(COLOURS)))
        rgb = drawn_colour(name, rng)
    else:
        r, g, b = (int(v) for v in rng.integers(150, 256, 3))
        rgb = (r, g, b)
    image = Image.new("RGB", (width, height), rgb)
    if style == "gradient" and layout != "groups":
        other = np.clip(np.array(rgb) + rng.integers(-60, 61, 3), 0, 255)
        ramp = np.linspace(0, 1, height if rng.random() < 0.5 else width)
        ramp = ramp[:, None] if len(ramp) == height and height != width else ramp[None, :]
        pixels = np.array(rgb) + (other - np.array(rgb)) * np.broadcast_to(ramp[..., None], (height, width, 1))
        image = Image.fromarray(pixels.astype(np.uint8))
    elif style == "noise" and layout != "groups":
        cells = rng.normal(0, 14, (max(2, height // 6), max(2, width // 6), 1))
        pixels = np.clip(np.array(rgb) + cells, 0, 255).astype(np.uint8)
        image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    return name, rgb, image


def _group_boxes(width: int, height: int, rng: np.random.Generator) -> list[tuple[int, int, int, int]]:
    n = int(rng.choice([2, 3, 3, 3, 4]))
    gap = int(width * rng.uniform(0.04, 0.13))
    side = (width - gap * (n - 1)) // n
    return [(i * (side + gap), 0, i * (side + gap) + side, height) for i in range(n)]


def _places(
    rng, layout: str, count: int, width: int, height: int, boxes, least: float
) -> list[tuple[float, float, float]]:
    """Centres and radii, kept apart except where overlap is wanted."""
    short = min(width, height)
    if layout == "grid":
        rows = int(rng.integers(2, 4))
        columns = max(2, min(5, round(rows * width / height)))
        cell = min(width / columns, height / rows)
        cells = [(c, r) for r in range(rows) for c in range(columns)]
        chosen = rng.permutation(len(cells))[: max(1, min(len(cells), count + 2))]
        return [
            (
                (cells[i][0] + 0.5) * width / columns,
                (cells[i][1] + 0.5) * height / rows,
                max(3.0, cell * rng.uniform(0.2, 0.42)),
            )
            for i in chosen
        ]
    overlap = 0.75 if rng.random() < 0.12 else 1.12
    low, high = (0.05, 0.13) if boxes else sorted(rng.uniform(least, 0.3 if count < 5 else 0.18, 2))
    placed: list[tuple[float, float, float]] = []
    for _ in range(count):
        for _ in range(25):
            radius = max(3.5, short * rng.uniform(low, max(high, low + 0.02)))
            x0, y0, x1, y1 = boxes[rng.integers(len(boxes))] if boxes else (0, 0, width, height)
            if x1 - x0 <= 2.1 * radius or y1 - y0 <= 2.1 * radius:
                continue
            cx, cy = rng.uniform(x0 + radius, x1 - radius), rng.uniform(y0 + radius, y1 - radius)
            if all(math.hypot(cx - x, cy - y) > overlap * (radius + r) for x, y, r in placed):
                placed.append((cx, cy, radius))
                break
    return placed or [(width / 2, height / 2, short * 0.25)]


def _restricted(rng: np.random.Generator, n: int) -> tuple[list[str], list[str]]:
    """A scene often uses few colours or few shapes, so that counting and telling apart are worth asking."""
    palette, kinds = list(COLOURS), list(SHAPES)
    weights = np.array([1.5 if c in ("red", "green", "blue", "yellow", "purple", "orange") else 1.0 for c in palette])
    if rng.random() < 0.5:
        palette = [
            str(c) for c in rng.choice(palette, int(rng.integers(1, 5)), replace=False, p=weights / weights.sum())
        ]
    common = np.array([2.5 if s in ("circle", "square", "triangle", "star") else 1.0 for s in kinds])
    if rng.random() < 0.5:
        kinds = [str(s) for s in rng.choice(kinds, int(rng.integers(1, 5)), replace=False, p=common / common.sum())]
    else:
        kinds = [str(s) for s in rng.choice(kinds, n, p=common / common.sum())]
    return palette, kinds


def _visible_things(things: list[Thing], width: int, height: int) -> list[Thing]:
    """The things with the share of each that later ones leave visible."""
    if len(things) < 2:
        return things
    size = 96
    scale = (size / width, size / height)
    top = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(top)
    own = []
    for index, thing in enumerate(things):
        points = [(float(x), float(y)) for x, y in thing.outline * scale - 0.5]
        single = Image.new("1", (size, size), 0)
        ImageDraw.Draw(single).polygon(points, fill=1)
        own.append(max(1, int(np.asarray(single).sum())))
        draw.polygon(points, fill=index + 1)
    seen = np.bincount(np.asarray(top).ravel(), minlength=len(things) + 1)[1:]
    return [Thing(t.shape, t.colour, t.outline, min(1.0, float(seen[i]) / own[i])) for i, t in enumerate(things)]


def _soften(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The soft edges of browsers and cameras: a scale down and up again, or a little noise."""
    if rng.random() < 0.5 and min(image.size) > 60:
        factor = rng.uniform(0.5, 0.9)
        small = image.resize(
            (max(1, int(image.width * factor)), max(1, int(image.height * factor))), Image.Resampling.BILINEAR
        )
        return small.resize(image.size, Image.Resampling.BILINEAR)
    noise = rng.normal(0, rng.uniform(1, 7), (image.height, image.width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
