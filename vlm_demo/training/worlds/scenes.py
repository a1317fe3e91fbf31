"""Scenes: coloured shapes on all sorts of backgrounds, drawn by seed, with the outline of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vlm_demo.training.worlds.scene_backgrounds import Background, dark_background, draw_background, light_colour, noisy
from vlm_demo.training.worlds.scene_layout import Box, Place, boxes_in_a_row, canvas_size, choose_layout, place_shapes
from vlm_demo.training.worlds.scene_shapes import LEAN, RGB, paint, turned, unit_outline
from vlm_demo.training.worlds.world import COLOURS, SHAPES, DrawnPicture, Thing, drawn_colour

BRIGHT = ("red", "green", "blue", "yellow", "purple", "orange")
COMMON = ("circle", "square", "triangle", "star")
LAMPS = ("red", "green", "blue", "yellow", "magenta", "cyan", "gray")
BLOCKS = ("square", "rectangle", "triangle", "pentagon", "cross", "circle", "semicircle", "ellipse")
SLENDER = ("arrow", "crescent", "cross", "star", "semicircle")  # a thick border would leave nothing hollow
WIDER = 1.7  # how many times a large thing of two sizes is at least as wide as a small one


def draw_scene(
    rng: np.random.Generator, size: tuple[int, int] | None = None, large: bool = False, layout: str | None = None
) -> DrawnPicture:
    """A scene of 1 to 12 shapes, in boxes up to 8 in each, on a canvas of ``size`` (width, height) or of any size.

    ``large`` draws only a few large shapes; ``layout`` is one of LAYOUTS, or "plain" (a few
    large shapes on a plain background, as ten lines of Pillow draw them), or None for any.

    ``facts``: ``background`` (a colour name or None), ``groups`` (how many boxes things are grouped in, or 0),
    ``boxes`` (these, from left to right), ``rgbs`` (the colour of each thing).
    """
    layout = layout or choose_layout(rng, size, large)
    width, height = size or canvas_size(rng, layout)
    boxes: tuple[Box, ...] = ()
    if layout == "plain":
        background = draw_background(rng, width, height, plain=True)
    elif layout in ("boxes", "towers"):
        boxes = boxes_in_a_row(rng, width, height)
        background = _boxed(rng, width, height, boxes)
    else:
        draw = dark_background if layout in ("dark", "cells") else draw_background
        background = draw(rng, width, height)
    places = place_shapes(rng, layout, (0, 0, width, height), boxes, large)
    brush = _Brush(rng, layout, background)
    things, rgbs = brush.things(places)
    image = brush.painted(things, rgbs)
    if layout not in ("boxes", "towers", "cells", "plain") and rng.random() < 0.25:
        image = _soften(image, rng)
    facts: dict[str, Any] = {"background": background.name, "groups": len(boxes), "boxes": boxes, "rgbs": tuple(rgbs)}
    return DrawnPicture("scenes", image, tuple(_with_visible(things, width, height)), facts)


def _boxed(rng: np.random.Generator, width: int, height: int, boxes: Sequence[Box]) -> Background:
    """Boxes of one plain colour with darker gaps between them."""
    v = int(rng.integers(195, 240))
    inside = (v, v, v) if rng.random() < 0.75 else light_colour(rng)
    r, g, b = (int(c * rng.uniform(0.5, 0.8)) if rng.random() < 0.3 else int(c * 0.6) for c in inside)
    image = Image.new("RGB", (width, height), (r, g, b))
    for box in boxes:
        image.paste(inside, box)
    return Background(None, (inside,), image)


class _Brush:
    """How the things of one scene look and are painted."""

    def __init__(self, rng: np.random.Generator, layout: str, background: Background) -> None:
        self.rng, self.layout, self.background = rng, layout, background
        free = layout in ("free", "rows")
        self.turning = float(layout == "dark" or (free and rng.random() < 0.25))
        self.hollow = float(rng.choice([0.0, 0.5, 1.0], p=[0.86, 0.11, 0.03])) if free else 0.0
        self.outlined = float(rng.choice([0.0, 0.5, 1.0], p=[0.84, 0.08, 0.08])) if layout != "cells" else 0.0
        self.flush = 0.35 * (rng.random() < 0.1) if free else 0.25 if layout == "boxes" else 0.0
        self.smooth = layout not in ("boxes", "towers") and max(background.image.size) < 700 and rng.random() < 0.6
        self.min_distance = 55 if layout == "dark" else 75
        self.edge: RGB | None = (0, 0, 0) if sum(background.colours[0]) > 300 else (255, 255, 255)
        self.edge = self.edge if rng.random() < 0.7 else None  # None: a darker tone of the thing's own colour

    def things(self, places: Sequence[Place]) -> tuple[list[Thing], list[RGB]]:
        """The things at these places, as far as colours are found that stand out, and their exact colours."""
        drawn: list[tuple[Thing, RGB, float]] = []
        kinds = self._shapes_and_colours(len(places))
        for place, (shape, colour) in zip(places, kinds, strict=True):
            colour, rgb = self._contrasting(colour)
            if rgb is None:
                continue
            traits = [
                name
                for name, share in (("hollow", self.hollow), ("outlined", self.outlined))
                if share and place.radius > 9 and self.rng.random() < share
            ]
            traits = traits[:1]  # a line around a thin border would hide it
            drawn.append((Thing(shape, colour, self._outline(shape, place), 1.0, tuple(traits)), rgb, place.radius))
        things, rgbs, radii = (list(column) for column in zip(*drawn, strict=True)) if drawn else ([], [], [])
        return _sized(things, np.array(radii)), rgbs

    def painted(self, things: Sequence[Thing], rgbs: Sequence[RGB]) -> Image.Image:
        """The background with the things on it."""
        scale = 2 if self.smooth else 1
        image = self.background.image
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

    def _shapes_and_colours(self, n: int) -> list[tuple[str, str]]:
        """A shape and a colour for each; a scene often has few of them, so that counting is worth asking."""
        rng = self.rng
        if self.layout == "towers":
            kinds, palette = ["square"], self._sample(COLOURS, BRIGHT, 3)
        elif self.layout == "boxes":
            kinds, palette = self._sample(SHAPES, COMMON[:3], 3), self._sample(COLOURS, BRIGHT, 3)
        elif self.layout == "cells":
            kinds, palette = self._sample(SHAPES, COMMON[:3] * 3, 3), self._sample(COLOURS, LAMPS[:3] * 3, 3)
        elif self.layout == "dark":
            kinds = list(BLOCKS) if rng.random() < 0.85 else [s for s in SHAPES if s != "diamond"]
            palette = list(LAMPS) if rng.random() < 0.7 else [c for c in COLOURS if c != "black"]
            if rng.random() < 0.35:
                kinds = self._sample(kinds, (), int(rng.integers(1, 4)))
            if rng.random() < 0.35:
                palette = self._sample(palette, (), int(rng.integers(1, 4)))
        else:
            kinds = self._sample(SHAPES, COMMON, int(rng.integers(1, 5)) if rng.random() < 0.5 else len(SHAPES))
            palette = self._sample(COLOURS, BRIGHT, int(rng.integers(1, 5)) if rng.random() < 0.5 else len(COLOURS))
            if rng.random() < 0.06:  # all alike but one
                odd, (kind, tint) = int(rng.integers(n)), (kinds[0], palette[0])
                other = (kind, palette[-1]) if rng.random() < 0.5 else (kinds[-1], tint)
                return [other if i == odd else (kind, tint) for i in range(n)]
        return [(str(rng.choice(kinds)), str(rng.choice(palette))) for _ in range(n)]

    def _sample(self, names, favourites: Sequence[str], count: int) -> list[str]:
        """``count`` different ones of the names, the favourites more likely."""
        weights = np.array([1.0 + 1.5 * favourites.count(name) for name in names])
        return [str(name) for name in self.rng.choice(list(names), count, replace=False, p=weights / weights.sum())]

    def _contrasting(self, colour: str) -> tuple[str, RGB | None]:
        """The colour and how it is drawn; another one if it is too near the background's."""
        for _ in range(7):
            rgb = drawn_colour(colour, self.rng)
            if all(math.dist(rgb, other) > self.min_distance for other in self.background.colours):
                return colour, rgb
            colour = str(self.rng.choice(list(COLOURS)))
        return colour, None

    def _outline(self, shape: str, place: Place) -> np.ndarray:
        rng = self.rng
        points = unit_outline(shape, rng)
        if shape == "rectangle" and self.layout != "dark" and rng.random() < 0.4:
            points = points[:, ::-1]
        max_angle = math.pi if self.layout == "dark" else LEAN.get(shape, math.pi)
        points = turned(points, self.turning * rng.uniform(-max_angle, max_angle)) * place.radius + (place.x, place.y)
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
    split_at = int(np.argmax(order[1:] / order[:-1]))
    small, large = order[: split_at + 1], order[split_at + 1 :]
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
    overlaps = (boxes[:, None, :2] < boxes[None, :, 2:]).all(-1) & (boxes[None, :, :2] < boxes[:, None, 2:]).all(-1)
    if not np.triu(overlaps, 1).any():
        return things
    scale = 160 / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    top = Image.new("L", size, 0)
    draw = ImageDraw.Draw(top)
    areas = []
    for index, thing in enumerate(things):
        points = [(float(x), float(y)) for x, y in thing.outline * scale - 0.5]
        mask = Image.new("L", size, 0)
        ImageDraw.Draw(mask).polygon(points, fill=1)
        areas.append(max(1, int(np.asarray(mask).sum())))
        draw.polygon(points, fill=index + 1)
    visible = np.bincount(np.asarray(top).ravel(), minlength=len(things) + 1)[1:]
    return [replace(t, visible=min(1.0, float(visible[i]) / areas[i])) for i, t in enumerate(things)]


def _soften(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The soft edges of browsers and cameras: a scale down and up again, or a little noise."""
    if rng.random() < 0.5 and min(image.size) > 60:
        factor = rng.uniform(0.5, 0.9)
        small = image.resize(
            (max(1, int(image.width * factor)), max(1, int(image.height * factor))), Image.Resampling.BILINEAR
        )
        return small.resize(image.size, Image.Resampling.BILINEAR)
    return noisy(image, rng, rng.uniform(1, 7))
