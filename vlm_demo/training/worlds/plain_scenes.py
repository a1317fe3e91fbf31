"""Plain scenes: a few large shapes on a plain ground, as a person draws them in ten lines with Pillow."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from vlm_demo.training.worlds.scene_shapes import RGB, paint, unit_outline
from vlm_demo.training.worlds.world import COLOURS, Picture, Thing, drawn_colour

SIZES = ((224, 224), (256, 256), (300, 200), (320, 240), (400, 300), (400, 400), (512, 384), (640, 480), (200, 200))
USUAL = ("circle", "square", "triangle", "star", "rectangle")
RARER = ("ellipse", "diamond", "pentagon", "hexagon", "heart", "cross", "arrow", "crescent", "semicircle")
GROUNDS = ("white", "black", "gray", "blue", "green", "yellow", "pink", "orange", "purple", "cyan", "brown", "red")
APART = 90  # between the colours of a shape and of the ground, of 0..441
COUNTS = {1: 0.05, 2: 0.25, 3: 0.32, 4: 0.22, 5: 0.16}


def draw_plain(rng: np.random.Generator) -> Picture:
    """One to five large shapes that do not touch; the facts are those of `scenes.draw_scene`."""
    width, height = SIZES[int(rng.integers(len(SIZES)))]
    name, behind = _ground(rng)
    places = _places(rng, width, height, int(rng.choice(list(COUNTS), p=list(COUNTS.values()))))
    smooth = 2 if rng.random() < 0.4 else 1
    image = Image.new("RGB", (width * smooth, height * smooth), behind)
    edge: RGB | None = None
    if rng.random() < 0.2 and name != "black":
        edge = (0, 0, 0)
    kinds = _kinds(rng)
    palette = [str(c) for c in rng.choice(list(COLOURS), int(rng.integers(1, 6)), replace=False)]
    things, rgbs = [], []
    for x, y, radius in places:
        shape, (colour, rgb) = str(rng.choice(kinds)), _colour(rng, palette, name, behind)
        outline = unit_outline(shape, rng) * radius + (x, y)
        traits = ("outlined",) if edge else ()
        paint(image, outline * smooth, rgb, edge=edge, line=2.5 * smooth)
        things.append(Thing(shape, colour, outline, 1.0, traits))
        rgbs.append(rgb)
    image = image.reduce(2) if smooth == 2 else image
    facts = {"background": name, "groups": 0, "boxes": (), "rgbs": tuple(rgbs)}
    return Picture("scenes", image, tuple(things), facts)


def _ground(rng: np.random.Generator) -> tuple[str | None, RGB]:
    style = rng.random()
    if style < 0.55:
        return "white", (255, 255, 255)
    if style < 0.75:
        r, g, b = (int(v) for v in np.clip(rng.integers(205, 248) + rng.integers(-14, 15, 3), 0, 255))
        return None, (r, g, b)
    name = str(rng.choice(GROUNDS))
    return name, COLOURS[name][0]


def _kinds(rng: np.random.Generator) -> list[str]:
    pool = [*USUAL * 2, *RARER]
    count = int(rng.integers(1, 5))
    return [pool[int(i)] for i in rng.permutation(len(pool))[:count]]


def _colour(rng: np.random.Generator, palette: list[str], ground: str | None, behind: RGB) -> tuple[str, RGB]:
    """A colour of the palette that stands out, or else any; half of the time its purest."""
    while True:
        name = str(rng.choice(palette))
        rgb = COLOURS[name][0] if rng.random() < 0.5 else drawn_colour(name, rng)
        if name != ground and math.dist(rgb, behind) > APART:
            return name, rgb
        palette = [*palette, str(rng.choice(list(COLOURS)))]


def _places(rng: np.random.Generator, width: int, height: int, count: int) -> list[tuple[float, float, float]]:
    """Middles and radii of up to ``count`` shapes that do not touch."""
    short = min(width, height)
    largest = {1: 0.4, 2: 0.26, 3: 0.22, 4: 0.19, 5: 0.17}[count]
    alike = rng.uniform(0.6, 1) if rng.random() < 0.4 else None
    placed: list[tuple[float, float, float]] = []
    for _ in range(60 * count):
        if len(placed) == count:
            break
        radius = short * largest * (alike or rng.uniform(0.55, 1))
        x, y = (rng.uniform(radius * 1.1, side - radius * 1.1) for side in (width, height))
        if all(math.hypot(x - u, y - v) > 1.15 * (radius + other) for u, v, other in placed):
            placed.append((x, y, radius))
    return placed
