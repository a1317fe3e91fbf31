"""World: the parts that all drawn pictures have.

Knows names, colours and the record of an object; not how a scene, a chart or a receipt is laid out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SHAPES = (
    "circle", "square", "triangle", "star", "rectangle", "diamond", "cross", "heart",
    "ellipse", "pentagon", "hexagon", "semicircle", "arrow", "crescent",
)  # fmt: skip
MARKS = ("bar", "slice", "line", "point")  # of charts
WIDGETS = (
    "button", "checkbox", "radio button", "switch", "slider", "tab", "chip", "text field", "navigation item",
    "list item", "dialog", "icon", "app bar",
)  # fmt: skip

# Anchors of each colour name; a drawn colour lies between two anchors of its name, so that names cover regions.
COLOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "red": ((255, 0, 0), (200, 20, 30), (230, 60, 50), (139, 0, 0)),
    "green": ((0, 128, 0), (0, 230, 0), (44, 160, 44), (34, 139, 34), (90, 200, 90)),
    "blue": ((0, 0, 255), (30, 60, 220), (31, 119, 180), (0, 150, 255), (70, 100, 240), (0, 0, 140)),
    "yellow": ((255, 255, 0), (255, 215, 0), (240, 220, 60), (190, 190, 10)),
    "purple": ((128, 0, 128), (148, 103, 189), (110, 30, 170), (150, 50, 200)),
    "orange": ((255, 140, 0), (255, 165, 0), (255, 127, 14), (245, 110, 20)),
    "pink": ((255, 192, 203), (255, 130, 180), (250, 160, 190), (255, 105, 180)),
    "brown": ((139, 69, 19), (120, 70, 30), (150, 90, 50), (101, 67, 33)),
    "black": ((0, 0, 0), (25, 25, 25)),
    "white": ((255, 255, 255), (240, 240, 240)),
    "gray": ((128, 128, 128), (90, 90, 90), (165, 165, 165)),
    "cyan": ((0, 255, 255), (20, 200, 210), (64, 224, 208), (0, 160, 170)),
    "magenta": ((255, 0, 255), (220, 0, 200), (170, 0, 170)),
}

ZONES = (
    ("top left", "top", "top right"),
    ("left", "center", "right"),
    ("bottom left", "bottom", "bottom right"),
)
PLACES = tuple(place for row in ZONES for place in row)
UNKNOWN = "unknown"
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()


@dataclass(frozen=True)
class Thing:
    """One drawn object.

    Attributes:
        shape: one of SHAPES, MARKS or WIDGETS; text, table or logo in a document.
        colour: a name of COLOURS.
        outline: polygon, float [n, 2], in pixels of the picture.
        visible: the share of its area that no later object covers, 0..1.
        traits: what else can be seen of it, such as hollow, large, on or selected.
        text: what is written on it or names it, such as a button's words or a bar's label.
        facts: what else a question may ask for, such as a bar's value: the further attributes of its row.
    """

    shape: str
    colour: str
    outline: np.ndarray
    visible: float = 1.0
    traits: tuple[str, ...] = ()
    text: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 in pixels."""
        low, high = self.outline.min(0), self.outline.max(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the box, in pixels."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2

    @property
    def area(self) -> float:
        """Shoelace area of the outline in square pixels."""
        x, y = self.outline.T
        return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


@dataclass(frozen=True)
class DrawnPicture:
    """A drawn picture and its truth.

    Attributes:
        kind: its area, one of `areas.AREAS`, or text.
        image: RGB.
        things: the objects, in drawing order.
        facts: what the questions of this kind need beyond the objects; ``words`` are the printed lines from the top,
            word by word as `contracts.OcrWord`, as OCR should read them, and ``texts`` the same as text.
    """

    kind: str
    image: Image.Image
    things: tuple[Thing, ...]
    facts: dict[str, Any] = field(default_factory=dict)


def drawn_colour(name: str, rng: np.random.Generator) -> tuple[int, int, int]:
    """A random RGB of that name: a blend of two of its anchors, with a little jitter."""
    anchors = np.array(COLOURS[name], dtype=float)
    a, b = anchors[rng.integers(len(anchors))], anchors[rng.integers(len(anchors))]
    rgb = a + (b - a) * rng.random() + rng.normal(0, 3, 3)
    r, g, b_ = np.clip(rgb, 0, 255).astype(int)
    return int(r), int(g), int(b_)


def brightness(rgb: Sequence[float]) -> float:
    """0..255."""
    return float(np.dot(rgb, (0.299, 0.587, 0.114)))


def zone(thing: Thing, size: tuple[int, int]) -> str | None:
    """Where the thing lies in a 3 × 3 division of the picture, or None if it is too close to a border to say."""
    thirds = []
    for position, length in zip(thing.centre, size, strict=True):
        share = position / length
        if min(abs(share - 1 / 3), abs(share - 2 / 3)) < 0.035:
            return None
        thirds.append(int(share * 3))
    column, row = (min(max(third, 0), 2) for third in thirds)
    return ZONES[row][column]


def instance_map(picture: DrawnPicture, resolution: int) -> np.ndarray:
    """Which thing is seen at each point: int [resolution, resolution], 0 = background, i + 1 = ``things[i]``.

    The map covers the picture padded to a square, as the embedded models' image processor pads it.
    """
    width, height = picture.image.size
    side = max(width, height)
    offset = ((side - width) // 2, (side - height) // 2)
    canvas = Image.new("L", (resolution, resolution), 0)
    draw = ImageDraw.Draw(canvas)
    for index, thing in enumerate(picture.things[:254]):
        points = (thing.outline + offset) * (resolution / side) - 0.5
        draw.polygon([(float(x), float(y)) for x, y in points], fill=index + 1)
    return np.asarray(canvas)


def number_word(n: int) -> str:
    """0..20 as a word, larger numbers in digits."""
    return _NUMBERS[n] if n < len(_NUMBERS) else str(n)


def outline_of(box: Sequence[float]) -> np.ndarray:
    """The four corners of x0, y0, x1, y1, float [4, 2]."""
    x0, y0, x1, y1 = box
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)


def article(name: str) -> str:
    """The name with "a" or "an"."""
    return ("an " if name[0] in "aeiou" else "a ") + name


def plural_of(noun: str) -> str:
    """Such as circles, crosses, radio buttons."""
    return noun + ("es" if noun.endswith(("s", "x", "ch")) else "s")


def series_of(parts: Sequence[str], word: str = "and") -> str:
    """The parts with commas and an "and"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" {word} " + parts[-1]
