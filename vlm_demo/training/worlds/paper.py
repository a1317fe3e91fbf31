"""Paper: what is printed where on a page, and how scanning, age and handling change the page's look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from vlm_demo.contracts import OcrWord
from vlm_demo.training.worlds.printed import spelled, texts
from vlm_demo.training.worlds.world import Thing, drawn_colour

Piece = tuple[float, str, str]  # x, anchor "l", "m" or "r", text
MOST_LINES = 60  # things of one page
LONGEST = 2600  # pixels, of a page


def least_width(pieces: Sequence[Piece], face: ImageFont.FreeTypeFont) -> float:
    """How wide a line must be for its pieces, at shares of the width, to stand apart."""
    if len(pieces) == 1:
        return face.getlength(pieces[0][2])
    needed, share, end = 0.0, 0.0, 0.0
    for at, anchor, text in [*pieces, (1.0, "r", "")]:
        length = face.getlength(text) + (face.size * 0.6 if text and share + end > 0 else 0)
        before = length * {"l": 0, "m": 0.5, "r": 1}[anchor]
        if at > share:
            needed = max(needed, (end + before) / (at - share))
        share, end = at, length - before
    return needed


@dataclass(frozen=True)
class Printed:
    """One line of one block: its text, its box in pixels, the names of the facts that stand in it, and where each of
    its pieces begins and ends."""

    text: str
    box: tuple[float, float, float, float]
    roles: tuple[str, ...]
    pieces: tuple[tuple[float, float, str], ...]


class Sheet:
    """A page to print on, that remembers all lines with their places."""

    def __init__(self, width: int, ink: int, coloured: bool = False) -> None:
        self.mode = "RGB" if coloured else "L"
        self.width, self.ink = width, self.tone(ink)
        self.image = Image.new(self.mode, (width, LONGEST), self.tone(255))
        self.draw = ImageDraw.Draw(self.image)
        self.printed: list[Printed] = []
        self.parts: list[Thing] = []  # logos and tables

    def tone(self, level: int):
        """A gray in the page's mode."""
        return level if self.mode == "L" else (level, level, level)

    def line(
        self,
        y: float,
        pieces: Sequence[Piece],
        face: ImageFont.FreeTypeFont,
        roles: Sequence[str] = (),
        ink=None,
        underline: bool = False,
    ) -> None:
        """Print one line of several pieces, that are read as one."""
        left, right, words = math.inf, -math.inf, []
        for x, anchor, text in pieces:
            if not text:
                continue
            length = face.getlength(text)
            start = x - length * {"l": 0, "m": 0.5, "r": 1}[anchor]
            self.draw.text((start, y), text, fill=self.ink if ink is None else ink, font=face)
            left, right = min(left, start), max(right, start + length)
            words.append((start, start + length, text))
        if not words:
            return
        words.sort(key=lambda word: word[0])
        text = " ".join(" ".join(text for _, _, text in words).split())
        low, high = y + face.size * 0.12, y + face.size * 1.18
        if underline:
            self.draw.line((left, high + 1, right, high + 1), fill=self.ink)
        self.printed.append(Printed(text, (left, low, right, high), tuple(roles), tuple(words)))

    def rule(self, y: float, left: float, right: float, style: str = "solid", thick: int = 1) -> None:
        """A line across, solid or dashed."""
        if style == "solid":
            self.draw.line((left, y, right, y), fill=self.ink, width=thick)
            return
        dash, gap = (7, 4) if style == "dashed" else (2, 4)
        x = left
        while x < right:
            self.draw.line((x, y, min(x + dash, right), y), fill=self.ink, width=thick)
            x += dash + gap

    def barcode(self, y: float, left: float, right: float, height: float, rng: np.random.Generator) -> None:
        """Upright bars of all widths."""
        x = round(left)
        while x < right:
            bar, gap = (int(n) for n in rng.integers(1, 4, 2))
            self.draw.rectangle((x, y, x + bar - 1, y + height), fill=self.ink)
            x += bar + gap

    def logo(self, x: float, y: float, side: float, name: str, face, rng: np.random.Generator) -> None:
        """An emblem in one colour (black on a page without colours): a badge with a letter or with a simple figure."""
        colour = "black"
        fill = self.ink
        if self.mode == "RGB":
            colour = str(rng.choice(["red", "blue", "green", "orange", "purple", "black", "cyan", "brown"]))
            fill = drawn_colour(colour, rng)
        white = self.tone(255)
        wide = side * (rng.uniform(1.3, 2.2) if rng.random() < 0.3 else 1)
        box = (x, y, x + wide, y + side)
        if rng.random() < 0.5:
            self.draw.ellipse(box, fill=fill)
        else:
            self.draw.rounded_rectangle(box, radius=side * float(rng.choice([0.0, 0.12, 0.3])), fill=fill)
        figure = rng.integers(4)
        cx, cy, r = x + wide / 2, y + side / 2, side * 0.3
        if figure == 0:
            self.draw.text((cx, cy), name[0].upper(), fill=white, font=face, anchor="mm")
        elif figure == 1:
            self.draw.polygon([(cx, cy - r), (cx + r, cy + r), (cx - r, cy + r)], fill=white)
        elif figure == 2:
            self.draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=white)
            self.draw.ellipse((cx - r / 2, cy - r / 2, cx + r / 2, cy + r / 2), fill=fill)
        else:
            for k in (-1, 0, 1):
                at = cy + k * r * 0.7
                self.draw.line((cx - r, at, cx + r, at - r * 0.4), fill=white, width=max(2, round(r / 4)))
        self.parts.append(Thing("logo", colour, _corners(box)))

    def table(self, box: tuple[float, float, float, float]) -> None:
        """Remember a table's place; its lines are printed by `line` and `rule`."""
        self.parts.append(Thing("table", "black", _corners(box)))

    def rows(self) -> list[list[Printed]]:
        """All lines from the top, those side by side together, as OCR reads them."""
        rows: list[list[Printed]] = []
        for line in sorted(self.printed, key=_middle):
            if rows and _middle(line) - _middle(rows[-1][0]) < (line.box[3] - line.box[1]) / 2:
                rows[-1].append(line)
            else:
                rows.append([line])
        return [sorted(row, key=lambda p: p.box[0]) for row in rows]

    def things(self) -> tuple[list[Thing], dict[str, int]]:
        """The page's parts and lines as things, and which of them carries each fact."""
        lines = [line for line in self.printed if any(letter.isalnum() for letter in line.text)]
        if len(lines) + len(self.parts) > MOST_LINES:
            told = [line for line in lines if line.roles]
            rest = [line for line in lines if not line.roles][: max(0, MOST_LINES - len(self.parts) - len(told))]
            lines = [line for line in lines if line in told or line in rest]
        parts = []
        for part in self.parts:
            x0, y0, x1, y1 = part.box
            covered = sum(
                _shared(line.box[0], line.box[2], x0, x1) * _shared(line.box[1], line.box[3], y0, y1) for line in lines
            )
            visible = max(0.05, 1 - covered / max(1.0, (x1 - x0) * (y1 - y0)))
            parts.append(Thing(part.shape, part.colour, part.outline, visible))
        where = {role: len(parts) + i for i, line in enumerate(lines) for role in line.roles}
        return [*parts, *(Thing("text", "black", _corners(line.box), text=line.text) for line in lines)], where

    def finished(self, height: float) -> Image.Image:
        """The page, cut to its height."""
        return self.image.crop((0, 0, self.width, min(LONGEST, round(height))))


def _middle(line: Printed) -> float:
    return (line.box[1] + line.box[3]) / 2


def _shared(a0: float, a1: float, b0: float, b1: float) -> float:
    return max(0.0, min(a1, b1) - max(a0, b0))


def _corners(box: Sequence[float]) -> np.ndarray:
    x0, y0, x1, y1 = box
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=float)


def worn(
    sheet: Sheet, height: float, things: Sequence[Thing], rng: np.random.Generator, thermal: bool = False
) -> tuple[Image.Image, tuple[Thing, ...], dict[str, Any]]:
    """The page, cut to its height, as a scanner or a camera shows it, RGB; the things where they then are; the facts
    ``words`` and ``texts``."""
    page, rows = sheet.finished(height), sheet.rows()
    pieces = [
        Thing("text", "black", _corners((x0, line.box[1], x1, line.box[3])), text=text)
        for row in rows
        for line in row
        for x0, x1, text in line.pieces
    ]
    page, moved = _aged(page, [*things, *pieces], rng, thermal)
    laid = iter(moved[len(things) :])
    words = [[word for line in row for _ in line.pieces for word in _spelled(next(laid))] for row in rows]
    return page, moved[: len(things)], {"words": words, "texts": texts(words)}


def _spelled(piece: Thing) -> list[OcrWord]:
    """The words of a piece that may stand askew, each in an upright box."""
    top, end, low, bottom = piece.outline
    left, right, half = (top + bottom) / 2, (end + low) / 2, np.linalg.norm(bottom - top) / 2
    slope = (right[1] - left[1]) / max(right[0] - left[0], 1)
    words = spelled(piece.text, (left[0], left[1] - half, right[0], left[1] + half))
    moved = []
    for word in words:
        x0, y0, x1, y1 = word.box
        down = round(slope * ((x0 + x1) / 2 - left[0]))
        moved.append(OcrWord(word.text, (x0, y0 + down, x1, y1 + down), word.confidence))
    return moved


def _aged(
    page: Image.Image, things: Sequence[Thing], rng: np.random.Generator, thermal: bool
) -> tuple[Image.Image, tuple[Thing, ...]]:
    faded, lit = rng.random() < (0.35 if thermal else 0.12), rng.random() < 0.25
    if faded:
        page = _faded(page, rng)
    page, moved = _laid(page, things, rng)
    if lit:
        page = _lit(page, rng)
    if rng.random() < 0.22:
        page = page.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.8))))
    if rng.random() < 0.3:
        page = _noisy(page, rng)
    if rng.random() < 0.1 and not faded and not lit:
        edge = int(rng.integers(120, 190))
        page = page.convert("L").point([0 if level < edge else 255 for level in range(256)])
    return _tinted(page, rng), moved


def _field(size: tuple[int, int], coarse: np.ndarray) -> np.ndarray:
    """A few values, spread smoothly over the page."""
    image = Image.fromarray(coarse.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image)


def _faded(page: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Ink that has paled, unevenly: thermal paper, a weak ribbon, a dirty head's stripes."""
    strength = rng.uniform(0.45, 0.95)
    if rng.random() < 0.4:
        return page.point([round(255 - (255 - level) * strength) for level in range(256)] * len(page.getbands()))
    coarse = rng.uniform(strength, 1, (int(rng.integers(2, 7)), int(rng.integers(1, 4))))
    kept = _field(page.size, coarse)
    if rng.random() < 0.2:
        stripes = np.ones(page.width, np.float32)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(page.width))
            stripes[at : at + int(rng.integers(1, 4))] = rng.uniform(0.1, 0.5)
        kept = kept * stripes
    pixels = np.asarray(page)
    ink = (255 - pixels).astype(np.float32) * (kept if pixels.ndim == 2 else kept[..., None])
    return Image.fromarray((255 - np.clip(ink, 0, 255)).astype(np.uint8))


def _laid(
    page: Image.Image, things: Sequence[Thing], rng: np.random.Generator
) -> tuple[Image.Image, tuple[Thing, ...]]:
    """The page a little askew on the scanner's glass, whose border may show."""
    style = rng.random()
    if style < 0.4:
        return page, tuple(things)
    angle = math.radians(rng.normal(0, 0.7)) if rng.random() < 0.85 else math.radians(rng.uniform(-3, 3))
    shear = rng.normal(0, 0.006)
    bordered = rng.random() < 0.45
    margins = rng.uniform(0, 0.07 if rng.random() < 0.85 else 0.4, 4) if bordered else np.zeros(4)
    ground = int(rng.choice([0, 20, 60, 110, 160, 235, 255])) if bordered else 255
    width, height = page.size
    wide, high = round(width * (1 + margins[0] + margins[1])), round(height * (1 + (margins[2] + margins[3]) / 2))
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([(c, s + shear), (-s, c)])
    shift = np.array(
        [wide / 2 + (margins[0] - margins[1]) * width / 2, high / 2 + (margins[2] - margins[3]) * height / 4]
    )
    back = np.linalg.inv(turn)
    middle = np.array([width / 2, height / 2])
    offset = middle - back @ shift
    coefficients = (*back[0], offset[0], *back[1], offset[1])
    fill = ground if page.mode == "L" else (ground, ground, ground)
    laid = page.transform(
        (wide, high),
        Image.Transform.AFFINE,
        [float(v) for v in coefficients],
        Image.Resampling.BILINEAR,
        fillcolor=fill,
    )
    moved = tuple(
        Thing(t.shape, t.colour, (t.outline - middle) @ turn.T + shift, t.visible, t.traits, t.text) for t in things
    )
    return laid, moved


def _lit(page: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Uneven light, and the shading of creases."""
    coarse = rng.uniform(rng.uniform(0.6, 0.9), 1.0, (int(rng.integers(2, 5)), int(rng.integers(2, 5))))
    light = _field((64, 64), coarse).copy()
    if rng.random() < 0.5:
        y, x = np.mgrid[0:64, 0:64] / 64.0
        for _ in range(int(rng.integers(1, 7))):
            turn = rng.uniform(0, math.pi)
            far = (x - rng.random()) * math.cos(turn) + (y - rng.random()) * math.sin(turn)
            light += rng.uniform(-0.08, 0.08) * np.tanh(far * 40) * np.exp(-np.abs(far) * rng.uniform(4, 20))
    full = np.clip(_field(page.size, light), 0.25, 1.1)
    pixels = np.asarray(page)
    shaded = pixels * (full if pixels.ndim == 2 else full[..., None])
    return Image.fromarray(np.clip(shaded, 0, 255).astype(np.uint8))


def _noisy(page: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The sensor's grain, repeated in strips, and specks of dirt."""
    pixels = np.asarray(page).astype(np.int16)
    height, width = pixels.shape[:2]
    strip = (rng.standard_normal((97, width), dtype=np.float32) * rng.uniform(2, 12)).astype(np.int16)
    grain = np.tile(strip, (height // 97 + 1, 1))[:height]
    pixels += grain if pixels.ndim == 2 else grain[..., None]
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(5, 60))):
            y, x, size = int(rng.integers(height)), int(rng.integers(width)), int(rng.integers(1, 4))
            pixels[y : y + size, x : x + size] = rng.integers(0, 120)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _tinted(page: Image.Image, rng: np.random.Generator) -> Image.Image:
    """White, off-white, yellowed or pink paper."""
    page = page.convert("RGB")
    style = rng.random()
    if style < 0.45:
        return page
    dim = rng.uniform(0.85, 1.0)
    shade = {0: (1, 1, 1), 1: (1, 0.98, 0.93), 2: (1, 0.95, 0.82), 3: (0.94, 0.97, 1), 4: (1, 0.92, 0.93)}
    chosen = shade[int(rng.choice(5, p=[0.4, 0.25, 0.15, 0.12, 0.08]))]
    table = [round(level * dim * share) for share in chosen for level in range(256)]
    return page.point(table)
