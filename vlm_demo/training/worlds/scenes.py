"""Scenes: coloured shapes on all sorts of backgrounds, drawn by seed, with the outline of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vlm_demo.training.worlds.scene_grounds import Ground, dark, ground, light, noisy
from vlm_demo.training.worlds.scene_shapes import LEAN, RGB, paint, turned, unit_outline
from vlm_demo.training.worlds.world import COLOURS, SHAPES, Picture, Thing, drawn_colour

Box = tuple[int, int, int, int]

# How often each layout is drawn: anywhere, in rows, on noisy black, nine cells, in boxes, towers in boxes.
LAYOUTS = {"free": 0.51, "rows": 0.09, "dark": 0.19, "cells": 0.07, "boxes": 0.10, "towers": 0.04}
MANY = np.array([12, 18, 18, 16, 12, 9, 6, 4, 2, 1, 1, 1], dtype=float) / 100  # of 1 to 12 shapes
BRIGHT = ("red", "green", "blue", "yellow", "purple", "orange")
COMMON = ("circle", "square", "triangle", "star")
LAMPS = ("red", "green", "blue", "yellow", "magenta", "cyan", "gray")
BLOCKS = ("square", "rectangle", "triangle", "pentagon", "cross", "circle", "semicircle", "ellipse")
SLENDER = ("arrow", "crescent", "cross", "star", "semicircle")  # a thick border would leave nothing hollow
# Sizes of plain scenes.
PLAIN = ((224, 224), (256, 256), (300, 200), (320, 240), (400, 300), (400, 400), (512, 384), (640, 480), (200, 200))
WIDER = 1.7  # how many times a large thing of two sizes is at least as wide as a small one


@dataclass(frozen=True)
class Place:
    """Where a shape shall be: its middle, half its longer side, and the box that it must stay in."""

    x: float
    y: float
    radius: float
    box: Box


def draw_scene(
    rng: np.random.Generator, size: tuple[int, int] | None = None, large: bool = False, layout: str | None = None
) -> Picture:
    """A scene of 1 to 12 shapes, in boxes up to 8 in each, on a canvas of ``size`` (width, height) or of any size.

    ``large`` keeps to few large shapes, an easier lesson to begin with; ``layout`` is one of LAYOUTS, or "plain" (a few
    large shapes on a plain ground, as a person draws them in ten lines with Pillow), or None for any.

    ``facts``: ``background`` (a colour name or None), ``groups`` (how many boxes things are grouped in, or 0),
    ``boxes`` (these, from left to right), ``rgbs`` (the colour of each thing).
    """
    layout = layout or _layout(rng, size, large)
    width, height = size or _canvas(rng, layout)
    boxes: tuple[Box, ...] = ()
    if layout == "plain":
        behind = ground(rng, width, height, plain=True)
    elif layout in ("boxes", "towers"):
        boxes = _boxes(rng, width, height)
        behind = _boxed(rng, width, height, boxes)
    else:
        behind = dark(rng, width, height) if layout in ("dark", "cells") else ground(rng, width, height)
    places = _places(rng, layout, (0, 0, width, height), boxes, large)
    brush = _Brush(rng, layout, behind)
    things, rgbs = brush.things(places)
    image = brush.painted(things, rgbs)
    if layout not in ("boxes", "towers", "cells", "plain") and rng.random() < 0.25:
        image = _soften(image, rng)
    facts: dict[str, Any] = {"background": behind.name, "groups": len(boxes), "boxes": boxes, "rgbs": tuple(rgbs)}
    return Picture("scenes", image, tuple(_with_visible(things, width, height)), facts)


def _layout(rng: np.random.Generator, size: tuple[int, int] | None, large: bool) -> str:
    names = [name for name in LAYOUTS if not (size or large) or name in ("free", "rows", "dark")]
    shares = np.array([LAYOUTS[name] for name in names])
    return str(rng.choice(names, p=shares / shares.sum()))


def _canvas(rng: np.random.Generator, layout: str) -> tuple[int, int]:
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


def _boxes(rng: np.random.Generator, width: int, height: int) -> tuple[Box, ...]:
    n = int(rng.choice([2, 3, 4], p=[0.12, 0.76, 0.12]))
    gap = (width - n * height) // (n - 1)
    if not 0.06 * height < gap < height:
        gap = int(width * rng.uniform(0.03, 0.12))
    side = (width - gap * (n - 1)) // n
    return tuple((i * (side + gap), 0, i * (side + gap) + side, height) for i in range(n))


def _boxed(rng: np.random.Generator, width: int, height: int, boxes: Sequence[Box]) -> Ground:
    """Boxes of one plain colour with darker gaps between them."""
    v = int(rng.integers(195, 240))
    inside = (v, v, v) if rng.random() < 0.75 else light(rng)
    r, g, b = (int(c * rng.uniform(0.5, 0.8)) if rng.random() < 0.3 else int(c * 0.6) for c in inside)
    image = Image.new("RGB", (width, height), (r, g, b))
    for box in boxes:
        image.paste(inside, box)
    return Ground(None, (inside,), image)


def _places(rng: np.random.Generator, layout: str, canvas: Box, boxes: Sequence[Box], large: bool) -> list[Place]:
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
        filled = zip(boxes, counts, strict=True)
        return [place for box, n in filled for place in _scattered(rng, box, rng.choice(radii, n), 1.1)]
    if layout == "cells":
        return _cells(rng, canvas, 3, 3, rng.random(9) < rng.uniform(0.55, 1.05), [0.26, 0.4])
    count = 1 + int(rng.choice(12, p=MANY))
    count = min(count, 4) if large else min(count, 8) if layout == "dark" else count
    if layout == "rows":
        rows = 1 + int(rng.integers(3))
        columns = max(2, min(6, round(rows * width / height)))
        kept = rng.permutation(rows * columns) < count + 2
        radius = rng.uniform(0.24, 0.42)
        return _cells(rng, canvas, columns, rows, kept, [radius * 0.55, radius] if rng.random() < 0.3 else [radius])
    short = min(width, height)
    least, most = (0.12, 0.3) if large else (0.07, 0.2) if layout == "dark" else (0.05, 0.3 if count < 5 else 0.18)
    low, high = sorted(rng.uniform(least, most, 2))
    radii = short * rng.uniform(low, max(high, low + 0.02), count)
    if rng.random() < 0.3 and low * 1.8 < 0.3:  # two sizes
        radii = short * low * rng.choice([1.0, rng.uniform(1.8, 2.4)], count) * rng.uniform(0.95, 1.05, count)
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
    rng: np.random.Generator, canvas: Box, columns: int, rows: int, kept: np.ndarray, sizes: Sequence[float]
) -> list[Place]:
    """The middles of the kept cells of a table; ``sizes`` are the shapes' radii as shares of a cell."""
    across, down = canvas[2] / columns, canvas[3] / rows
    cell = min(across, down)
    kept[int(rng.integers(len(kept)))] |= not kept.any()
    return [
        Place(
            (i % columns + 0.5 + rng.uniform(-0.05, 0.05)) * across,
            (i // columns + 0.5 + rng.uniform(-0.05, 0.05)) * down,
            max(3.0, cell * float(rng.choice(sizes))),
            canvas,
        )
        for i in np.flatnonzero(kept)
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


class _Brush:
    """How the things of one scene look and are painted."""

    def __init__(self, rng: np.random.Generator, layout: str, behind: Ground) -> None:
        self.rng, self.layout, self.behind = rng, layout, behind
        free = layout in ("free", "rows")
        self.turning = float(layout == "dark" or (free and rng.random() < 0.25))
        self.hollow = float(rng.choice([0.0, 0.5, 1.0], p=[0.86, 0.11, 0.03])) if free else 0.0
        self.outlined = float(rng.choice([0.0, 0.5, 1.0], p=[0.84, 0.08, 0.08])) if layout != "cells" else 0.0
        self.flush = 0.35 * (rng.random() < 0.1) if free else 0.25 if layout == "boxes" else 0.0
        self.smooth = layout not in ("boxes", "towers") and max(behind.image.size) < 700 and rng.random() < 0.6
        self.least = 55 if layout == "dark" else 75
        self.edge: RGB | None = (0, 0, 0) if sum(behind.colours[0]) > 300 else (255, 255, 255)
        self.edge = self.edge if rng.random() < 0.7 else None  # None: a darker tone of the thing's own colour

    def things(self, places: Sequence[Place]) -> tuple[list[Thing], list[RGB]]:
        """The things at these places, as far as colours are found that stand out, and their exact colours."""
        found: list[tuple[Thing, RGB, float]] = []
        looks = self._looks(len(places))
        for place, (shape, colour) in zip(places, looks, strict=True):
            colour, rgb = self._standing_out(colour)
            if rgb is None:
                continue
            traits = [
                name
                for name, share in (("hollow", self.hollow), ("outlined", self.outlined))
                if share and place.radius > 9 and self.rng.random() < share
            ]
            traits = traits[:1]  # a line around a thin border would hide it
            found.append((Thing(shape, colour, self._outline(shape, place), 1.0, tuple(traits)), rgb, place.radius))
        things, rgbs, radii = (list(column) for column in zip(*found, strict=True)) if found else ([], [], [])
        return _sized(things, np.array(radii)), rgbs

    def painted(self, things: Sequence[Thing], rgbs: Sequence[RGB]) -> Image.Image:
        """The background with the things on it."""
        scale = 2 if self.smooth else 1
        image = self.behind.image
        image = image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST) if self.smooth else image
        hollow, line = self.rng.uniform(0.16, 0.34), self.rng.uniform(0.05, 0.13)
        for thing, rgb in zip(things, rgbs, strict=True):
            x0, y0, x1, y1 = thing.box
            width = scale * min(x1 - x0, y1 - y0) / 2 * (0.6 if thing.shape in SLENDER else 1)
            edge = self.edge or tuple(int(v * 0.45) for v in rgb)
            paint(
                image,
                thing.outline * scale - 0.5 * (scale - 1),
                rgb,
                max(2.5 * scale, width * hollow) if "hollow" in thing.traits else 0,
                edge if "outlined" in thing.traits else None,  # type: ignore[arg-type]
                max(1.2 * scale, width * line),
            )
        return image.reduce(2) if self.smooth else image

    def _looks(self, n: int) -> list[tuple[str, str]]:
        """A shape and a colour for each; a scene often has few of them, so that counting is worth asking."""
        rng = self.rng
        if self.layout == "towers":
            kinds, palette = ["square"], self._some(COLOURS, BRIGHT, 3)
        elif self.layout == "boxes":
            kinds, palette = self._some(SHAPES, COMMON[:3], 3), self._some(COLOURS, BRIGHT, 3)
        elif self.layout == "cells":
            kinds, palette = self._some(SHAPES, COMMON[:3] * 3, 3), self._some(COLOURS, LAMPS[:3] * 3, 3)
        elif self.layout == "dark":
            kinds = list(BLOCKS) if rng.random() < 0.85 else [s for s in SHAPES if s != "diamond"]
            palette = list(LAMPS) if rng.random() < 0.7 else [c for c in COLOURS if c != "black"]
            if rng.random() < 0.35:
                kinds = self._some(kinds, (), int(rng.integers(1, 4)))
            if rng.random() < 0.35:
                palette = self._some(palette, (), int(rng.integers(1, 4)))
        else:
            kinds = self._some(SHAPES, COMMON, int(rng.integers(1, 5)) if rng.random() < 0.5 else len(SHAPES))
            palette = self._some(COLOURS, BRIGHT, int(rng.integers(1, 5)) if rng.random() < 0.5 else len(COLOURS))
            if rng.random() < 0.06:  # all alike but one
                odd, (kind, tint) = int(rng.integers(n)), (kinds[0], palette[0])
                other = (kind, palette[-1]) if rng.random() < 0.5 else (kinds[-1], tint)
                return [other if i == odd else (kind, tint) for i in range(n)]
        return [(str(rng.choice(kinds)), str(rng.choice(palette))) for _ in range(n)]

    def _some(self, names, favourites: Sequence[str], count: int) -> list[str]:
        """``count`` different ones of the names, the favourites more likely."""
        weights = np.array([1.0 + 1.5 * favourites.count(name) for name in names])
        return [str(name) for name in self.rng.choice(list(names), count, replace=False, p=weights / weights.sum())]

    def _standing_out(self, colour: str) -> tuple[str, RGB | None]:
        """The colour and how it is drawn; another one if it is too near the background's."""
        for _ in range(7):
            rgb = drawn_colour(colour, self.rng)
            if all(math.dist(rgb, other) > self.least for other in self.behind.colours):
                return colour, rgb
            colour = str(self.rng.choice(list(COLOURS)))
        return colour, None

    def _outline(self, shape: str, place: Place) -> np.ndarray:
        rng = self.rng
        points = unit_outline(shape, rng)
        if shape == "rectangle" and self.layout != "dark" and rng.random() < 0.4:
            points = points[:, ::-1]
        most = math.pi if self.layout == "dark" else LEAN.get(shape, math.pi)
        points = turned(points, self.turning * rng.uniform(-most, most)) * place.radius + (place.x, place.y)
        if self.flush and rng.random() < self.flush:
            side = int(rng.integers(4))
            edge, axis = place.box[side], side % 2
            points[:, axis] += edge - (points[:, axis].min() if side < 2 else points[:, axis].max())
        return points


def _sized(things: list[Thing], radii: np.ndarray) -> list[Thing]:
    """The things with the traits large and small, where there are clearly two sizes and no other."""
    order = np.sort(radii)
    if len(order) < 2 or order[-1] < WIDER * order[0]:
        return things
    cut = int(np.argmax(order[1:] / order[:-1]))
    small, large = order[: cut + 1], order[cut + 1 :]
    if large[0] < WIDER * small[-1] or max(small[-1] / small[0], large[-1] / large[0]) > 1.3:
        return things
    if min(t.area for t, r in zip(things, radii, strict=True) if r >= large[0]) < 1.3 * max(
        t.area for t, r in zip(things, radii, strict=True) if r < large[0]
    ):
        return things
    return [
        replace(t, traits=(*t.traits, "large" if r >= large[0] else "small"))
        for t, r in zip(things, radii, strict=True)
    ]


def _with_visible(things: list[Thing], width: int, height: int) -> list[Thing]:
    """The things with the share of each that later ones leave visible."""
    boxes = np.array([t.box for t in things]).reshape(-1, 4)
    meet = (boxes[:, None, :2] < boxes[None, :, 2:]).all(-1) & (boxes[None, :, :2] < boxes[:, None, 2:]).all(-1)
    if not np.triu(meet, 1).any():
        return things
    scale = 160 / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    top = Image.new("L", size, 0)
    draw = ImageDraw.Draw(top)
    own = []
    for index, thing in enumerate(things):
        points = [(float(x), float(y)) for x, y in thing.outline * scale - 0.5]
        single = Image.new("L", size, 0)
        ImageDraw.Draw(single).polygon(points, fill=1)
        own.append(max(1, int(np.asarray(single).sum())))
        draw.polygon(points, fill=index + 1)
    seen = np.bincount(np.asarray(top).ravel(), minlength=len(things) + 1)[1:]
    return [replace(t, visible=min(1.0, float(seen[i]) / own[i])) for i, t in enumerate(things)]


def _soften(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The soft edges of browsers and cameras: a scale down and up again, or a little noise."""
    if rng.random() < 0.5 and min(image.size) > 60:
        factor = rng.uniform(0.5, 0.9)
        small = image.resize(
            (max(1, int(image.width * factor)), max(1, int(image.height * factor))), Image.Resampling.BILINEAR
        )
        return small.resize(image.size, Image.Resampling.BILINEAR)
    return noisy(image, rng, rng.uniform(1, 7))
