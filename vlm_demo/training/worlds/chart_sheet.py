"""Chart sheet: a drawing surface that remembers what was printed where, and reads it back in lines as OCR would."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from vlm_demo.contracts import OcrWord
from vlm_demo.runtime.ocr_layout import in_rows
from vlm_demo.training.worlds.fonts import font
from vlm_demo.training.worlds.printed import spelled, upwards

Point = tuple[float, float]
Colour = tuple[int, int, int]


class Printed(NamedTuple):
    """Words with the middle of their box, its height and its width, in pixels; ``turned`` ones run upwards."""

    x: float
    y: float
    height: float
    words: str
    width: float
    turned: bool = False

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1."""
        across, down = self.width / 2, self.height / 2
        return self.x - across, self.y - down, self.x + across, self.y + down


def as_lines(printed: Sequence[Printed]) -> list[list[OcrWord]]:
    """The words in lines from the top, in each from the left; those that run upwards come last, as OCR gives them."""
    lines: list[list[Printed]] = []
    for piece in sorted((p for p in printed if not p.turned), key=lambda p: p.y):
        if lines and abs(piece.y - lines[-1][0].y) < 0.45 * min(piece.height, lines[-1][0].height):
            lines[-1].append(piece)
        else:
            lines.append([piece])
    level = [[word for piece in sorted(line) for word in spelled(piece.words, piece.box)] for line in lines]
    return level + in_rows([upwards(piece.words, piece.box) for piece in printed if piece.turned])


class Sheet:
    """A canvas in pixels, drawn ``scale`` times as large and then reduced: 1 leaves hard edges, 2 and 3 soft ones."""

    def __init__(self, size: tuple[int, int], back: Colour, scale: int) -> None:
        self.scale, self.size, self.printed = scale, size, list[Printed]()
        self.image = Image.new("RGB", (size[0] * scale, size[1] * scale), back)
        self.draw = ImageDraw.Draw(self.image)

    def finish(self) -> Image.Image:
        """The picture in its own size."""
        return self.image.reduce(self.scale) if self.scale > 1 else self.image

    def _scaled(self, points) -> list[Point]:
        shift = 0.5 if self.scale > 1 else 0.0
        return [(float(x) * self.scale - shift, float(y) * self.scale - shift) for x, y in points]

    def polygon(self, points, fill: Colour | None, edge: Colour | None = None, width: float = 1) -> None:
        """A filled shape."""
        scaled = self._scaled(points)
        if fill is not None:
            self.draw.polygon(scaled, fill=fill)
        if edge is not None:
            self.draw.line([*scaled, scaled[0]], fill=edge, width=max(1, round(width * self.scale)))

    def line(self, points, fill: Colour, width: float = 1) -> None:
        """A stroke through the points."""
        self.draw.line(self._scaled(points), fill=fill, width=max(1, round(width * self.scale)), joint="curve")

    def measure(self, words: str, family: str, size: int) -> float:
        """The width of the words in pixels."""
        return _width(words, family, size)

    def text(self, x: float, y: float, words: str, ink: Colour, family: str, size: int, anchor="mm", turn=0) -> None:
        """Words at a place, as `PIL` anchors them; ``turn`` degrees against the clock about the anchor's corner.

        Level words and those that run upwards are remembered: OCR does not read the others.
        """
        face = font(family, size * self.scale)
        x0, y0 = x * self.scale, y * self.scale
        if not turn:
            self.draw.text((x0, y0), words, fill=ink, font=face, anchor=anchor)
            width = _width(words, family, size)
            middle = x + width * {"l": 0.5, "m": 0.0, "r": -0.5}[anchor[0]]
            down = y + size * {"a": 0.6, "m": 0.0, "b": -0.5}[anchor[1]]
            self.printed.append(Printed(middle, down, size, words, width))
            return
        left, top, right, bottom = face.getbbox(words)
        mask = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2), 0)
        ImageDraw.Draw(mask).text((1 - left, 1 - top), words, fill=255, font=face)
        mask = mask.rotate(turn, expand=True, resample=Image.Resampling.BILINEAR)
        across = {"l": 0, "m": mask.width / 2, "r": mask.width}[anchor[0]]
        down = {"a": 0, "m": mask.height / 2, "b": mask.height}[anchor[1]]
        self.image.paste(ink, (round(x0 - across), round(y0 - down)), mask)
        if turn == 90:
            wide, high = mask.width / self.scale, mask.height / self.scale
            left, top = (x0 - across) / self.scale, (y0 - down) / self.scale
            self.printed.append(Printed(left + wide / 2, top + high / 2, high, words, wide, True))


@lru_cache(maxsize=4096)
def _width(words: str, family: str, size: int) -> float:
    return float(font(family, size).getlength(words))


def stroke(points, width: float) -> np.ndarray:
    """The outline of a line through the points, ``width`` wide."""
    path = np.asarray(points, dtype=float)
    ahead = np.diff(path, axis=0)
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    sides = np.stack([-ahead[:, 1], ahead[:, 0]], 1)
    middle = np.concatenate([sides[:1], sides[:-1] + sides[1:], sides[-1:]])
    middle /= np.maximum(np.linalg.norm(middle, axis=1, keepdims=True), 1e-9)
    return np.concatenate([path + middle * width / 2, (path - middle * width / 2)[::-1]])
