"""Screen sheet: what a screen is drawn on and in which design: themes, boxes, words and icons.

All measures are pixels of the finished picture; the sheet itself is ``scale`` times as large, for smooth edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vlm_demo.contracts import OcrWord
from vlm_demo.training.worlds.fonts import HELD_OUT_FAMILY, font
from vlm_demo.training.worlds.printed import spelled, texts
from vlm_demo.training.worlds.world import COLOURS, Picture, Thing, drawn_colour

RGB = tuple[int, int, int]
Box = tuple[float, float, float, float]
Piece = tuple[float, float, float, float, str]  # printed words and their box

DESIGNS = ("material", "flat", "bootstrap", "desktop")
_ACCENTS = ("blue", "blue", "green", "red", "purple", "orange", "pink", "cyan", "magenta", "brown", "yellow", "gray")
# What OCR makes of icons and controls, where it takes them for letters.
_MISREAD = {
    "plus": "+", "close": "x", "menu": "=", "dots": ":", "search": "Q", "back": "<", "more": ">", "info": "i",
    "radio on": "@ © ®", "radio off": "O O ©", "checkbox on": "& @ M v", "checkbox off": "O [] (1", "edge": "| | [",
    "switch on": "@) © @ €)", "switch off": "© O_ @) C)",
}  # fmt: skip
_TAKEN = 0.4  # in how many screens OCR takes one kind of them for letters
ICONS = (
    "plus", "close", "menu", "dots", "search", "back", "more", "info", "check", "heart", "star", "home", "person",
    "mail", "bookmark", "bell", "play", "grid",
)  # fmt: skip


def mix(a: Sequence[float], b: Sequence[float], share: float) -> RGB:
    """From ``a`` towards ``b``."""
    r, g, c = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return r, g, c


def bright(rgb: Sequence[float]) -> float:
    """How light a colour is, 0..255."""
    return 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]


def ink_on(rgb: RGB) -> RGB:
    """Letters that can be read on it."""
    return (20, 20, 24) if bright(rgb) > 150 else (250, 250, 252)


@dataclass(frozen=True)
class Look:
    """The theme of a screen.

    Attributes:
        size: of its letters in pixels.
        accent: the name of its leading colour; ``rgb`` is how it is drawn.
        back, surface, ink, faint, line: of the screen, of bars and cards, of letters, of small print, of borders.
        tonal: the accent mixed into the background.
    """

    dark: bool
    design: str
    family: str
    heavy: str
    size: int
    accent: str
    rgb: RGB
    back: RGB
    surface: RGB
    ink: RGB
    faint: RGB
    line: RGB
    tonal: RGB

    def radius(self, height: float) -> float:
        """How round the corners of something of that height are."""
        return {"material": height / 2, "flat": min(6, height / 4), "bootstrap": min(7, height / 5), "desktop": 2}[
            self.design
        ]


def random_look(rng: np.random.Generator, size: int, held_out: bool) -> Look:
    """A light or dark theme in one of DESIGNS."""
    dark = bool(rng.random() < 0.45)
    base = rng.integers(10, 42) if dark else rng.integers(240, 256)
    back = mix((0, 0, 0), np.clip(base + rng.integers(-6, 7, 3), 0, 255), 1)
    if not dark and rng.random() < 0.4:
        back = (255, 255, 255)
    ink = mix((255, 255, 255), back, rng.uniform(0, 0.15)) if dark else mix((0, 0, 0), back, rng.uniform(0, 0.18))
    accents = [*_ACCENTS, "white" if dark else "black"]
    for _ in range(20):
        accent = str(rng.choice(accents))
        rgb = drawn_colour(accent, rng)
        if np.linalg.norm(np.subtract(rgb, back)) > 110:
            break
    family = str(rng.choice(["sans", "sans", "sans", "sans", "times", "serif", "mono"]))
    heavy = {"sans": "sans-bold", "mono": "mono-bold"}.get(family, family)
    if held_out:
        family = heavy = HELD_OUT_FAMILY
    surface = mix(back, (255, 255, 255) if dark or rng.random() < 0.3 else rgb, rng.uniform(0.03, 0.1))
    return Look(
        dark, str(rng.choice(DESIGNS, p=[0.4, 0.2, 0.22, 0.18])), family, heavy, size, accent, rgb, back, surface, ink,
        mix(ink, back, rng.uniform(0.3, 0.45)), mix(back, ink, rng.uniform(0.14, 0.4)),
        mix(back, rgb, rng.uniform(0.28, 0.5)),
    )  # fmt: skip


@dataclass
class Sheet:
    """A screen in the making: its pixels, its things, what is printed on it."""

    width: int
    height: int
    look: Look
    rng: np.random.Generator
    scale: int = 2
    things: list[Thing] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    sure: dict[int, str] = field(default_factory=dict)
    fields: dict[int, dict[str, str]] = field(default_factory=dict)
    heading: int | None = None

    def __post_init__(self) -> None:
        self.image = Image.new("RGB", (self.width * self.scale, self.height * self.scale), self.look.back)
        self.draw = ImageDraw.Draw(self.image)
        self.misread = {name: str(self.rng.choice(ways.split())) for name, ways in _MISREAD.items()}
        self.misread = {name: text for name, text in self.misread.items() if self.rng.random() < _TAKEN}

    def _up(self, *values: float) -> tuple[float, ...]:
        return tuple(value * self.scale for value in values)

    def box(self, box: Box, fill: RGB | None = None, edge: RGB | None = None, radius: float = 0, width: float = 1):
        """A box with round corners."""
        x0, y0, x1, y1 = (round(v) for v in self._up(*box))
        radius = min(radius * self.scale, (x1 - x0) / 2, (y1 - y0) / 2)
        thick = max(1, round(width * self.scale)) if edge else 1
        if radius < 1:
            self.draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill, edge, thick)
        else:
            self.draw.rounded_rectangle((x0, y0, x1 - 1, y1 - 1), radius, fill, edge, thick)

    def disc(self, x: float, y: float, radius: float, fill: RGB | None = None, edge: RGB | None = None, width=1.0):
        """A circle around (x, y)."""
        box = self._up(x - radius, y - radius, x + radius, y + radius)
        self.draw.ellipse(box, fill, edge, max(1, round(width * self.scale)) if edge else 1)

    def stroke(self, points: Sequence[tuple[float, float]], fill: RGB, width: float) -> None:
        """A line through the points."""
        self.draw.line([self._up(*p) for p in points], fill, max(1, round(width * self.scale)), joint="curve")

    def length(self, text: str, size: float, heavy: bool = False) -> float:
        """How wide the words are."""
        face = font(self.look.heavy if heavy else self.look.family, max(6, round(size * self.scale)))
        return face.getlength(text) / self.scale

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        fill: RGB,
        *,
        anchor: str = "lm",
        heavy: bool = False,
        most: float = 1e9,
    ) -> float:
        """Print words, smaller where they would be wider than ``most``; returns their width."""
        width = self.length(text, size, heavy)
        if width > most:
            size = max(6.0, size * most / width)
            width = self.length(text, size, heavy)
        face = font(self.look.heavy if heavy else self.look.family, max(6, round(size * self.scale)))
        self.draw.text((x * self.scale, y * self.scale), text, fill, face, anchor)
        left = x - {"l": 0, "m": width / 2, "r": width}[anchor[0]]
        self.pieces.append((left, y - size * 0.6, left + width, y + size * 0.6, text))
        return width

    def icon(self, name: str, x: float, y: float, r: float, fill: RGB) -> None:
        """A small sign of radius ``r`` around (x, y); OCR takes some for letters."""
        _ICON[name](self, x, y, r, fill)
        self.mistake(name, x, y, r)

    def mistake(self, name: str, x: float, y: float, r: float) -> None:
        """Record what OCR reads where an icon or a control of radius ``r`` lies around (x, y), if anything."""
        if name in self.misread:
            self.pieces.append((x - r, y - r, x + r, y + r, self.misread[name]))

    def add(
        self,
        shape: str,
        colour: str,
        box: Box,
        traits: tuple[str, ...] = (),
        text: str = "",
        sure: str | None = None,
    ) -> int:
        """Record a thing; returns its index. ``sure``: what of it has its colour beyond doubt, "" = all of it."""
        x0, y0, x1, y1 = box
        outline = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=float)
        self.things.append(Thing(shape, colour, outline, 1.0, traits, text))
        if sure is not None:
            self.sure[len(self.things) - 1] = sure
        return len(self.things) - 1

    def picture(self, component: str, box: Box | None = None) -> Picture:
        """The picture, cut out to ``box``; ``component`` is what it shows alone, "" = a whole screen."""
        x0, y0, x1, y1 = (round(v) for v in box or (0, 0, self.width, self.height))
        s = self.scale
        image = self.image.crop((x0 * s, y0 * s, x1 * s, y1 * s))
        image = image.reduce(s) if s > 1 else image
        things = [Thing(t.shape, t.colour, t.outline - (x0, y0), 1.0, t.traits, t.text) for t in self.things]
        read = lines([(a - x0, b - y0, c - x0, d - y0, text) for a, b, c, d, text in self.pieces])
        facts: dict[str, Any] = {
            "component": component,
            "dark": self.look.dark,
            "sure": self.sure,
            "fields": self.fields,
            "heading": self.heading,
            "words": read,
            "texts": texts(read),
        }
        return Picture("screens", image, tuple(seen_shares(things)), facts)


def lines(pieces: Sequence[Piece]) -> list[list[OcrWord]]:
    """What OCR reads: pieces of about the same height are one line, lines run from the top, pieces from the left."""
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda p: (p[1] + p[3]) / 2):
        middle = (piece[1] + piece[3]) / 2
        if rows:
            first = rows[-1][0]
            if middle - (first[1] + first[3]) / 2 < 0.5 * min(piece[3] - piece[1], first[3] - first[1]):
                rows[-1].append(piece)
                continue
        rows.append([piece])
    return [[word for piece in sorted(row) for word in spelled(piece[4], piece[:4])] for row in rows]


def seen_shares(things: Sequence[Thing]) -> list[Thing]:
    """The things with the share of each that those on it leave."""
    boxes = [thing.box for thing in things]
    shown = []
    for i, thing in enumerate(things):
        hidden = 0.0
        for other in boxes[i + 1 :]:
            across = min(boxes[i][2], other[2]) - max(boxes[i][0], other[0])
            down = min(boxes[i][3], other[3]) - max(boxes[i][1], other[1])
            hidden += max(across, 0) * max(down, 0)
        share = 1 - min(hidden / max(thing.area, 1), 0.95)
        shown.append(Thing(thing.shape, thing.colour, thing.outline, share, thing.traits, thing.text))
    return shown


def named(rgb: Sequence[float]) -> str:
    """The colour name whose anchors are nearest."""
    return min(COLOURS, key=lambda name: min(np.linalg.norm(np.subtract(rgb, a)) for a in COLOURS[name]))


def _plus(s: Sheet, x, y, r, fill):
    s.stroke([(x - r, y), (x + r, y)], fill, r / 4)
    s.stroke([(x, y - r), (x, y + r)], fill, r / 4)


def _close(s: Sheet, x, y, r, fill):
    r *= 0.75
    s.stroke([(x - r, y - r), (x + r, y + r)], fill, r / 3)
    s.stroke([(x - r, y + r), (x + r, y - r)], fill, r / 3)


def _menu(s: Sheet, x, y, r, fill):
    for k in (-0.6, 0, 0.6):
        s.stroke([(x - r, y + k * r), (x + r, y + k * r)], fill, r / 4.5)


def _dots(s: Sheet, x, y, r, fill):
    for k in (-0.75, 0, 0.75):
        s.disc(x, y + k * r, r / 5, fill)


def _search(s: Sheet, x, y, r, fill):
    s.disc(x - r * 0.2, y - r * 0.2, r * 0.65, None, fill, r / 4)
    s.stroke([(x + r * 0.3, y + r * 0.3), (x + r * 0.95, y + r * 0.95)], fill, r / 4)


def _back(s: Sheet, x, y, r, fill):
    s.stroke([(x + r, y), (x - r, y)], fill, r / 4)
    s.stroke([(x, y - r), (x - r, y), (x, y + r)], fill, r / 4)


def _more(s: Sheet, x, y, r, fill):
    s.stroke([(x - r * 0.35, y - r * 0.7), (x + r * 0.4, y), (x - r * 0.35, y + r * 0.7)], fill, r / 4)


def _info(s: Sheet, x, y, r, fill):
    s.disc(x, y, r, None, fill, r / 5)
    s.stroke([(x, y - r * 0.1), (x, y + r * 0.55)], fill, r / 5)
    s.disc(x, y - r * 0.45, r / 7, fill)


def _check(s: Sheet, x, y, r, fill):
    s.stroke([(x - r, y), (x - r * 0.3, y + r * 0.65), (x + r, y - r * 0.7)], fill, r / 3.2)


def _heart(s: Sheet, x, y, r, fill):
    t = np.linspace(0, 2 * math.pi, 24)
    across = 16 * np.sin(t) ** 3
    down = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    _shape(s, x, y, r / 16, np.stack([across, down], 1), fill)


def _star(s: Sheet, x, y, r, fill):
    angles = -math.pi / 2 + np.arange(10) * math.pi / 5
    points = np.stack([np.cos(angles), np.sin(angles)], 1)
    points[1::2] *= 0.45
    _shape(s, x, y, r, points, fill)


def _home(s: Sheet, x, y, r, fill):
    points = [(0, -1), (1, -0.1), (0.7, -0.1), (0.7, 0.9), (-0.7, 0.9), (-0.7, -0.1), (-1, -0.1)]
    _shape(s, x, y, r, points, fill)


def _person(s: Sheet, x, y, r, fill):
    s.disc(x, y - r * 0.45, r * 0.45, fill)
    box = s._up(x - r * 0.85, y + r * 0.15, x + r * 0.85, y + r * 1.7)
    s.draw.pieslice(box, 180, 360, fill)


def _mail(s: Sheet, x, y, r, fill):
    s.box((x - r, y - r * 0.7, x + r, y + r * 0.7), None, fill, r / 6, r / 5)
    s.stroke([(x - r, y - r * 0.6), (x, y + r * 0.15), (x + r, y - r * 0.6)], fill, r / 5)


def _bookmark(s: Sheet, x, y, r, fill):
    _shape(s, x, y, r, [(-0.6, -0.9), (0.6, -0.9), (0.6, 0.95), (0, 0.4), (-0.6, 0.95)], fill)


def _bell(s: Sheet, x, y, r, fill):
    _shape(s, x, y, r, [(-0.25, -0.9), (0.25, -0.9), (0.6, -0.4), (0.65, 0.3), (0.9, 0.6), (-0.9, 0.6), (-0.65, 0.3),
                        (-0.6, -0.4)], fill)  # fmt: skip
    s.disc(x, y + r * 0.8, r * 0.2, fill)


def _play(s: Sheet, x, y, r, fill):
    _shape(s, x, y, r, [(-0.6, -0.9), (0.9, 0), (-0.6, 0.9)], fill)


def _grid(s: Sheet, x, y, r, fill):
    for i in (-0.5, 0.5):
        for j in (-0.5, 0.5):
            s.box((x + (i - 0.4) * r, y + (j - 0.4) * r, x + (i + 0.4) * r, y + (j + 0.4) * r), fill, None, r / 8)


def _shape(s: Sheet, x: float, y: float, r: float, points, fill: RGB) -> None:
    s.draw.polygon([s._up(x + px * r, y + py * r) for px, py in points], fill)


_ICON = {
    "plus": _plus, "close": _close, "menu": _menu, "dots": _dots, "search": _search, "back": _back, "more": _more,
    "info": _info, "check": _check, "heart": _heart, "star": _star, "home": _home, "person": _person, "mail": _mail,
    "bookmark": _bookmark, "bell": _bell, "play": _play, "grid": _grid,
}  # fmt: skip
