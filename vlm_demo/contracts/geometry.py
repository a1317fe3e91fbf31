"""Geometry: what the model sees of an upload, and where in it each patch lies. No tensor of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class PatchGrid:
    """A regular grid of patches laid over an upload; those of a picture that is cut into tiles lie in one grid.

    Attributes:
        grid: (rows, columns).
        boxes: float32 [rows * columns, 4], the x0, y0, x1, y1 that each patch covers in the upload, row by row.
        tokens: int64 [rows * columns], which of the picture's image tokens stands for each patch, counted from behind
            those that lead and stand for no place.
    """

    grid: tuple[int, int]
    boxes: np.ndarray
    tokens: np.ndarray


@dataclass(frozen=True)
class View:
    """What the model really sees of one upload, without the tensors that it is given.

    Attributes:
        image: the upload, opened safely, turned upright, RGB.
        size: (width, height) of ``image``.
        processed: uint8 [H, W, 3], the pixels under ``grid`` with the normalisation undone, for looking at.
        grid: (rows, columns) of patches, the finest that the model gets of this picture.
        boxes: float32 [rows * columns, 4], the x0, y0, x1, y1 that each patch covers in ``image``.
        notes: sentences for the person: first frame only, turned upright, shrunk, ...
        patch_grids: the finest one, which ``grid`` and ``boxes`` repeat, and then the coarser ones that the model gets
            in addition (a thumbnail); empty = one token for each patch of ``grid``, in order.
        tiling: (rows, columns) of the tiles that ``grid`` lies over.
        tiles: how many the encoder is given of this picture, each one picture to it; with a thumbnail, one more than
            those of ``tiling``.
        visitor: whose picture it is, see ``contracts.engine.Request``.
    """

    image: Image.Image
    size: tuple[int, int]
    processed: np.ndarray
    grid: tuple[int, int]
    boxes: np.ndarray
    notes: tuple[str, ...] = ()
    patch_grids: tuple[PatchGrid, ...] = ()
    tiling: tuple[int, int] = (1, 1)
    tiles: int = 1
    visitor: str = field(default="", repr=False)


def inside(view: View) -> np.ndarray:
    """bool [patches]: whose middle lies in the upload. The others are padding; what rests on them is not shown."""
    x, y = view.boxes[:, [0, 2]].mean(1), view.boxes[:, [1, 3]].mean(1)
    return (x > 0) & (x < view.size[0]) & (y > 0) & (y < view.size[1])


def interpolate(cells: np.ndarray, view: View) -> np.ndarray:
    """Spread patch values over the upload's pixels.

    Bilinear between the patches' centres, falling to zero one patch beyond the outermost ones, so that the maximum
    lies at a centre and never at a patch's corner or the picture's border. What the model did not see stays 0.

    Args:
        cells: [patches], row by row.
        view: gives the grid and the patches' boxes.
    Returns:
        float32 [H, W], 0..1.
    """
    rows, columns = view.grid
    width, height = view.size
    boxes = view.boxes.astype(np.float64).reshape(rows, columns, 4)
    across, down = boxes[0, :, [0, 2]], boxes[:, 0][:, [1, 3]].T
    seen = inside(view).reshape(rows, columns)
    values = np.where(seen, cells.reshape(rows, columns), np.nan)
    empty = np.zeros((height, width), np.float32)
    if not seen.any() or not np.isfinite(values[seen]).all():
        return empty
    low, high = np.nanmin(values), np.nanmax(values)
    if high - low <= 1e-6 * abs(high):
        return empty
    values = np.nan_to_num((values - low) / (high - low)).astype(np.float32)
    heat = _triangles(down, height) @ values @ _triangles(across, width).T
    peak = heat.max()
    if peak > 0:
        heat /= peak  # in place: an upload may have 178 million pixels
    return heat


def on_patches(weights: np.ndarray, patch_grids: Sequence[PatchGrid]) -> np.ndarray:
    """Weights float32 [..., image tokens of one picture] → [..., patches of the finest of its grids].

    A picture that is cut into tiles is given twice, in tiles and as a thumbnail. A thumbnail's patch covers several of
    the tiles', so its weight is spread over them by area; what rests on tokens of no place (line ends) is left out.
    """
    finest, *coarser = patch_grids
    total = weights[..., finest.tokens]
    for coarse in coarser:
        down, across = _spread(coarse, finest, 1), _spread(coarse, finest, 0)
        on_grid = weights[..., coarse.tokens].reshape(*weights.shape[:-1], *coarse.grid)
        total = total + (down @ on_grid @ across.T).reshape(total.shape)
    return total


def _spread(coarse: PatchGrid, fine: PatchGrid, axis: int) -> np.ndarray:
    """float32 [fine, coarse]: how much of each coarse row (axis 1) or column (axis 0) lies in each fine one."""
    from_begin, from_end = _edges(coarse, axis)
    to_begin, to_end = _edges(fine, axis)
    shared = np.minimum(from_end, to_end[:, None]) - np.maximum(from_begin, to_begin[:, None])
    return (np.maximum(shared, 0) / (from_end - from_begin)).astype(np.float32)


def _edges(patch_grid: PatchGrid, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the rows (axis 1) or columns (axis 0) of a grid begin and end, in the upload's pixels."""
    boxes = patch_grid.boxes.reshape(*patch_grid.grid, 4)
    line = boxes[:, 0] if axis else boxes[0]
    return line[:, axis], line[:, axis + 2]


def _triangles(edges: np.ndarray, length: int) -> np.ndarray:
    """The weight (float32 [length, cells]) of each cell in each pixel along one axis.

    Args:
        edges: [2, cells], where each cell begins and ends, in pixels.
        length: pixels.
    """
    begin, end = edges
    pitch = float((end - begin).mean())
    # Where patches are smaller than a pixel, a pixel is the mean over its patches and not a sample of one.
    fine = max(1, int(np.ceil(2 / pitch))) if pitch < 1 else 1
    at = (np.arange(length * fine) + 0.5) / fine
    weights = np.maximum(0.0, 1 - np.abs(at[:, None] - (begin + end)[None, :] / 2) / pitch)
    weights[(at < begin[0]) | (at > end[-1])] = 0
    return weights.reshape(length, fine, -1).mean(1).astype(np.float32)
