"""Overlay: a heatmap laid over its picture, the cooler the more transparent.

Colours come from perceptually uniform maps only: equal steps of heat look like equal steps.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLORMAPS = ("magma", "viridis", "inferno", "cividis")
GRID_COLOUR = (255, 255, 255, 90)


def overlay(
    image: Image.Image,
    heatmap: np.ndarray,
    opacity: float = 0.6,
    colormap: str = "magma",
    grid: tuple[int, int] | np.ndarray | None = None,
) -> Image.Image:
    """Lay a heatmap over its picture.

    Args:
        image: the picture.
        heatmap: float [H, W] in 0..1, of the picture's size.
        opacity: 0..1, how much of the picture the hottest place hides.
        colormap: one of ``COLORMAPS``.
        grid: draw the patches: their boxes [n, 4] in the picture's pixels, or (rows, columns) over the whole picture.
    Returns:
        RGB, of the picture's size.
    Raises:
        ValueError: unknown colormap, or sizes that differ.
    """
    if colormap not in COLORMAPS:
        raise ValueError(f"colormap must be one of {', '.join(COLORMAPS)}, not {colormap}")
    if heatmap.shape != (image.height, image.width):
        raise ValueError(f"the heatmap is {heatmap.shape[::-1]} and the picture {image.size}")
    base = image.convert("RGB")
    alpha = Image.fromarray((np.clip(heatmap, 0, 1) * (255 * min(max(opacity, 0.0), 1.0))).astype(np.uint8))
    levels = (np.clip(heatmap, 0, 1) * 255).astype(np.uint8)
    blended = Image.composite(Image.fromarray(palette(colormap)[levels]), base, alpha)
    return blended if grid is None else _with_grid(blended, grid)


@cache
def palette(colormap: str) -> np.ndarray:
    """The colours of a map from cold to hot, uint8 [256, 3]: its row of ``colormaps.png``, which holds matplotlib's."""
    with Image.open(Path(__file__).with_name("colormaps.png"), formats=("PNG",)) as table:
        return np.asarray(table)[COLORMAPS.index(colormap)]


def _with_grid(image: Image.Image, grid: tuple[int, int] | np.ndarray) -> Image.Image:
    lines = Image.new("RGBA", image.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(lines)
    width, height = image.size
    if isinstance(grid, np.ndarray):
        for x0, y0, x1, y1 in grid:
            pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline=GRID_COLOUR) if x1 - x0 >= 2 and y1 - y0 >= 2 else None
    else:
        rows, columns = grid
        for i in range(1, rows):
            pen.line((0, i * height / rows, width, i * height / rows), fill=GRID_COLOUR)
        for j in range(1, columns):
            pen.line((j * width / columns, 0, j * width / columns, height), fill=GRID_COLOUR)
    return Image.alpha_composite(image.convert("RGBA"), lines).convert("RGB")
