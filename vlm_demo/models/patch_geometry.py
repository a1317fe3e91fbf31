"""Patch geometry: how a checkpoint's image processor lays an upload out for the encoder, and which patch lies where.

Follows the processors' arithmetic; the pixels themselves come from the processor. Knows no model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from vlm_demo.contracts import PatchGrid
from vlm_demo.errors import BadImage, UnsupportedModel

RESIZED_PIXELS = 16_000_000  # what a processor may make of a picture before it crops it


@dataclass(frozen=True)
class Geometry:
    """How the processor maps the upload to its output: x_out = x_in · scale + shift, the same for y.

    Attributes:
        scale, shift: (x, y).
        size: (width, height) of the output in pixels.
    """

    scale: tuple[float, float]
    shift: tuple[float, float]
    size: tuple[int, int]

    def to_upload(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes [n, 4] of the output → boxes in the upload's pixels."""
        scale, shift = np.array(self.scale * 2), np.array(self.shift * 2)
        return ((boxes - shift) / scale).astype(np.float32)

    def of_larger(self, times: tuple[float, float]) -> Geometry:
        """The same where the upload was made so many (x, y) times smaller before."""
        return Geometry((self.scale[0] / times[0], self.scale[1] / times[1]), self.shift, self.size)


@dataclass(frozen=True)
class Cut:
    """One upload as the encoder gets it.

    Attributes:
        pixel_values: float tensor [tiles, 3, h, w], exactly the processor's.
        shown: float tensor [3, H, W], the pixels under the finest grid, still normalised.
        patch_grids: the patches, finest grid first.
        place: how the upload lies in the whole of what the encoder gets.
        tiling: (rows, columns) of the tiles under the finest grid.
    """

    pixel_values: torch.Tensor
    shown: torch.Tensor
    patch_grids: tuple[PatchGrid, ...]
    place: Geometry
    tiling: tuple[int, int] = (1, 1)

    def of_larger(self, times: tuple[float, float]) -> Cut:
        """The same where the upload was made so many (x, y) times smaller before."""
        factors = np.array(times * 2, np.float32)
        patch_grids = tuple(replace(grid, boxes=grid.boxes * factors) for grid in self.patch_grids)
        return replace(self, patch_grids=patch_grids, place=self.place.of_larger(times))


def geometry(processor: Any, size: tuple[int, int]) -> Geometry:
    """Follow the processor's steps (pad to a square, resize, centre crop) for an upload of (width, height).

    Raises:
        BadImage: the picture is so elongated that resizing its shorter side would make it too large, or that its
            shorter side would be less than a pixel.
    """
    x, y = size
    shift = np.zeros(2)
    scale = np.ones(2)
    if getattr(processor, "do_pad", False) and hasattr(processor, "pad_to_square"):
        side = max(x, y)
        shift += ((side - x) // 2, (side - y) // 2)
        x = y = side
    if processor.do_resize:
        new_x, new_y = _resized((x, y), dict(processor.size))
        if new_x * new_y > RESIZED_PIXELS or (x, y) != size and min(size) * new_x < x:
            raise too_elongated(size)
        scale *= (new_x / x, new_y / y)
        shift *= (new_x / x, new_y / y)
        x, y = new_x, new_y
    if getattr(processor, "do_center_crop", False):
        crop = dict(processor.crop_size)
        # The processor rounds a negative margin (padding) away from zero; floor division does the same.
        shift -= ((x - crop["width"]) // 2, (y - crop["height"]) // 2)
        x, y = crop["width"], crop["height"]
    return Geometry((float(scale[0]), float(scale[1])), (float(shift[0]), float(shift[1])), (x, y))


def _resized(size: tuple[int, int], target: dict[str, Any]) -> tuple[int, int]:
    width, height = size
    if target.get("height") and target.get("width"):
        return int(target["width"]), int(target["height"])
    short, long = min(size), max(size)
    new_short = int(target["shortest_edge"])
    new_long = int(new_short * long / short)
    return (new_short, new_long) if width <= height else (new_long, new_short)


def squashed(upload: tuple[int, int], size: tuple[int, int]) -> Geometry:
    """An upload of (width, height) stretched to ``size``."""
    return Geometry((size[0] / upload[0], size[1] / upload[1]), (0.0, 0.0), size)


def whole(processor: Any, image: Image.Image, grid_of: Callable[[int, int], tuple[int, int]]) -> Cut:
    """The picture in one tile, padded, resized or cropped.

    Args:
        grid_of: (height, width) of the pixel values → (rows, columns) of the patches.
    Raises:
        UnsupportedModel: the processor does more than that, so patches can't be placed.
    """
    place = geometry(processor, image.size)
    processed = processor(images=image, return_tensors="pt")
    pixels = processed if isinstance(processed, torch.Tensor) else processed["pixel_values"]
    if tuple(pixels.shape) != (1, 3, place.size[1], place.size[0]):
        raise unplaceable(processor)
    return Cut(pixels, pixels[0], (patch_grid(place, grid_of(*place.size[::-1])),), place)


def too_elongated(size: tuple[int, int]) -> BadImage:
    """The error for an upload of (width, height) of which the model would see nothing."""
    return BadImage(f"This picture is {size[0]} × {size[1]} pixels, too elongated for the model: crop it first.")


def unplaceable(processor: Any) -> UnsupportedModel:
    """The error where the pixels do not come in the computed shape."""
    return UnsupportedModel(
        f"The image processor {type(processor).__name__} cuts pictures in a way unknown here: choose another model."
    )


def patch_grid(place: Geometry, grid: tuple[int, int], tokens: np.ndarray | None = None) -> PatchGrid:
    """A grid of (rows, columns) over all of ``place``; ``tokens`` None = one after the other."""
    boxes = place.to_upload(cells(place.size, *grid))
    return PatchGrid(grid, boxes, np.arange(len(boxes)) if tokens is None else tokens)


def cells(size: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    """Boxes [rows * columns, 4] of a regular grid over (width, height).

    A tower whose patches do not divide the picture leaves a strip at the right and bottom unread, so cells are
    whole pixels wide.
    """
    width, height = size[0] // columns, size[1] // rows
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.stack([column * width, row * height, (column + 1) * width, (row + 1) * height], 1).astype(np.float64)


def tile_by_tile(tiling: tuple[int, int], grid: tuple[int, int], first: int = 0) -> np.ndarray:
    """For each cell of the grid over all tiles, row by row, its token, where tokens go tile by tile.

    Args:
        tiling: (rows, columns) of tiles.
        grid: (rows, columns) of tokens in each.
        first: the first tile's first token.
    """
    tokens = np.arange(np.prod(tiling) * np.prod(grid)).reshape(*tiling, *grid)
    return tokens.transpose(0, 2, 1, 3).reshape(-1) + first


def joined(tiles: torch.Tensor, tiling: tuple[int, int]) -> torch.Tensor:
    """Tiles [rows * columns, 3, h, w] → [3, rows * h, columns * w]."""
    height, width = tiles.shape[2:]
    placed = tiles.reshape(*tiling, 3, height, width).permute(2, 0, 3, 1, 4)
    return placed.reshape(3, tiling[0] * height, tiling[1] * width)
