"""Image token rules: the size of a picture → how many tokens it becomes, by each way in which families lay it out.

Follows the arithmetic of the published image processors, with a checkpoint's published settings; opens no picture and
loads no model. The marks that some families put around tiles are words of the prompt, and not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class ImageTokenRule(Protocol):
    """How a family lays a picture out."""

    def count(self, width: int, height: int) -> int | None:
        """The image tokens of a picture of so many pixels; None where it is too elongated for the model."""
        ...


@dataclass(frozen=True)
class Fixed:
    """Every picture is made one size.

    Attributes:
        tokens: of every picture.
        longest_ratio: of the longer to the shorter side, beyond which a picture is refused; None = none is.
    """

    tokens: int
    longest_ratio: float | None = None

    def count(self, width: int, height: int) -> int | None:
        return None if _beyond(self.longest_ratio, width, height) else self.tokens


@dataclass(frozen=True)
class TilesOfLength:
    """The picture's longer side is made one length and the shorter keeps up, both rounded up to whole tiles; a
    thumbnail goes with them (Idefics3, SmolVLM).

    Attributes:
        length: of the longer side, in pixels; more than ``tile``.
        tile: the side of a tile, in pixels.
        tokens: of each tile, and of the thumbnail.
    """

    length: int
    tile: int
    tokens: int

    def count(self, width: int, height: int) -> int | None:
        # Rounded as the processor rounds: the shorter side to an even number of pixels, and both to whole tiles.
        most = math.ceil(self.length / self.tile)
        if width >= height:
            short = _even(int(self.length / (width / height)))
            fitted = int(most * self.tile / (self.length / short))
        else:
            short = _even(int(self.length * (width / height)))
            fitted = int(most * self.tile * (short / self.length))
        return (most * math.ceil(fitted / self.tile) + 1) * self.tokens


@dataclass(frozen=True)
class TilesOfShape:
    """The arrangement of tiles whose shape is nearest to the picture's, and a thumbnail where they are several
    (InternVL).

    Attributes:
        tile: the side of a tile, in pixels.
        most: tiles.
        tokens: of each tile, and of the thumbnail.
    """

    tile: int
    most: int
    tokens: int

    def count(self, width: int, height: int) -> int | None:
        sides = range(1, self.most + 1)
        arrangements = [(columns, rows) for columns in sides for rows in sides if columns * rows <= self.most]
        nearest, found = math.inf, 1
        for columns, rows in sorted(arrangements, key=math.prod):
            distance = abs(width / height - columns / rows)
            # Of two that are equally near, the larger as long as the picture fills half of it.
            larger = distance == nearest and width * height > 0.5 * self.tile**2 * columns * rows
            if distance < nearest or larger:
                nearest, found = distance, columns * rows
        return (found + (found > 1)) * self.tokens


@dataclass(frozen=True)
class TilesOnCanvas:
    """The picture is fitted into the canvas of tiles that keeps most of it. Patches of nothing but padding are left
    out, each row of the others ends with a token, and a thumbnail goes with them (LLaVA-NeXT, LLaVA-OneVision).

    Attributes:
        tile: the side of a tile, in pixels.
        side: patches along it.
        canvases: (rows, columns) of tiles.
        pooled_above: tiles' worth of patches, above which they are made fewer; None = they never are.
        longest_ratio: as of ``Fixed``.
    """

    tile: int
    side: int
    canvases: tuple[tuple[int, int], ...]
    pooled_above: int | None = None
    longest_ratio: float | None = None

    def count(self, width: int, height: int) -> int | None:
        if _beyond(self.longest_ratio, width, height):
            return None
        tall, wide = max(self.canvases, key=lambda canvas: self._kept(width, height, *canvas))
        rows, columns = tall * self.side, wide * self.side
        if width / height > columns / rows:
            rows -= (rows - int(round(height * (columns / width), 7))) // 2 * 2
        else:
            columns -= (columns - int(round(width * (rows / height), 7))) // 2 * 2
        if self.pooled_above is not None:
            times = math.sqrt(rows * columns / (self.pooled_above * self.side**2))
            if times > 1.1:
                rows, columns = int(rows // times), int(columns // times)
        return rows * columns + rows + self.side**2

    def _kept(self, width: int, height: int, rows: int, columns: int) -> tuple[int, int]:
        """What a canvas keeps of the picture's pixels, and less what of it stays empty."""
        tall, wide = rows * self.tile, columns * self.tile
        scale = min(wide / width, tall / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - tall * wide


@dataclass(frozen=True)
class TilesInCanvas:
    """The picture is fitted into the smallest canvas of tiles in which it is not made smaller, or into that in which it
    is made smaller least (Mllama).

    Attributes:
        tile: the side of a tile, in pixels.
        most: tiles.
        tokens: of each tile.
    """

    tile: int
    most: int
    tokens: int

    def count(self, width: int, height: int) -> int | None:
        sides = range(1, self.most + 1)
        canvases = [(columns, rows) for columns in sides for rows in sides if columns * rows <= self.most]

        def scale(canvas: tuple[int, int]) -> float:
            return min(canvas[0] * self.tile / width, canvas[1] * self.tile / height)

        enlarging = [factor for factor in map(scale, canvases) if factor >= 1]
        chosen = min(enlarging) if enlarging else max(map(scale, canvases))
        return min(math.prod(canvas) for canvas in canvases if scale(canvas) == chosen) * self.tokens


@dataclass(frozen=True)
class Native:
    """The picture at its own resolution, between two limits (Qwen2.5-VL, Qwen3-VL).

    Attributes:
        patch: its side, in pixels.
        merge: so many patches in each direction become one token.
        min_pixels, max_pixels: of what the encoder gets.
        longest_ratio: as of ``Fixed``.
    """

    patch: int
    merge: int
    min_pixels: int
    max_pixels: int
    longest_ratio: float

    def count(self, width: int, height: int) -> int | None:
        if _beyond(self.longest_ratio, width, height):
            return None
        side = self.patch * self.merge
        columns, rows = round(width / side), round(height / side)
        if columns * rows * side**2 > self.max_pixels:
            smaller = math.sqrt(width * height / self.max_pixels)
            columns, rows = (max(1, math.floor(length / smaller / side)) for length in (width, height))
        elif columns * rows * side**2 < self.min_pixels:
            larger = math.sqrt(self.min_pixels / (width * height))
            columns, rows = (math.ceil(length * larger / side) for length in (width, height))
        return columns * rows


RULES: dict[str, type[Fixed | TilesOfLength | TilesOfShape | TilesOnCanvas | TilesInCanvas | Native]] = {
    "fixed": Fixed,
    "tiles of length": TilesOfLength,
    "tiles of shape": TilesOfShape,
    "tiles on canvas": TilesOnCanvas,
    "tiles in canvas": TilesInCanvas,
    "native": Native,
}


def rule_of(fields: Mapping[str, Any]) -> ImageTokenRule:
    """A rule as the catalog writes it: its ``rule`` by name, and its settings."""
    settings = {name: value for name, value in fields.items() if name != "rule"}
    if "canvases" in settings:
        settings["canvases"] = tuple((rows, columns) for rows, columns in settings["canvases"])
    return RULES[fields["rule"]](**settings)


def _even(length: int) -> int:
    return max(1, length + length % 2)


def _beyond(longest: float | None, width: int, height: int) -> bool:
    return longest is not None and max(width, height) > longest * min(width, height)
