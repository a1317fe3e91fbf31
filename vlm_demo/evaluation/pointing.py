"""Pointing: is a heatmap on the named thing, and does the model need what it highlights?

The pointing game of Zhang et al. 2016 (https://arxiv.org/abs/1608.00507), without its margin; the overlap of the map,
cut by Otsu 1979 (https://doi.org/10.1109/TSMC.1979.4310076), with the thing; and insertion and deletion of Petsiuk et
al. 2018 (https://arxiv.org/abs/1806.07421). Knows nothing of how the map was made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Box = tuple[float, float, float, float]


def hottest(heatmap: np.ndarray) -> tuple[int, int] | None:
    """The pixel (x, y) of the maximum of ``heatmap`` [H, W], or None for a map that is flat or not finite."""
    if not np.isfinite(heatmap).all() or not np.ptp(heatmap) > 0:
        return None
    y, x = np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)
    return int(x), int(y)


def hit(heatmap: np.ndarray, boxes: Sequence[Box]) -> bool:
    """Whether the hottest pixel's centre lies in one of ``boxes``.

    Args:
        heatmap: [H, W] in the picture's own pixels.
        boxes: (x0, y0, x1, y1) each, in pixels; x1 and y1 are the first column and row outside. A map without a
            single maximum points nowhere and never hits.
    """
    hottest_pixel = hottest(heatmap)
    if hottest_pixel is None:
        return False
    x, y = hottest_pixel[0] + 0.5, hottest_pixel[1] + 0.5
    return any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)


def area(boxes: Sequence[Box], size: tuple[int, int]) -> np.ndarray:
    """Boxes → bool [H, W] of a picture of (width, height): the pixels whose centre lies in one of them."""
    width, height = size
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    mask = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in boxes:
        mask |= ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))
    return mask


def otsu(heatmap: np.ndarray) -> float:
    """The threshold that divides the values of ``heatmap``, 0..1, into the two classes of least variance within."""
    counts, edges = np.histogram(heatmap, 256, (0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * centres)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    best = np.nan_to_num(between, nan=-1.0)
    return float(edges[1:][best == best.max()].mean())  # the middle of a gap that holds no value


def iou(heatmap: np.ndarray, mask: np.ndarray) -> float:
    """The overlap 0..1 of the hot part of ``heatmap`` [H, W], 0..1, with ``mask`` bool [H, W]; a flat map has none."""
    if hottest(heatmap) is None:
        return 0.0
    hot = heatmap > otsu(heatmap)
    return float((hot & mask).sum() / max((hot | mask).sum(), 1))


def fractions(steps: int) -> np.ndarray:
    """How much of the picture is changed at each of the ends and of ``steps`` between, 0..1: finer where little is
    changed, since a small thing is hidden or shown by the first few patches."""
    return (np.arange(steps + 2) / (steps + 1)) ** 2


def hidden(cells: np.ndarray, inside: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Which patches are hidden while the hottest ones are removed, and while they are inserted.

    Args:
        cells: [patches], the map.
        inside: bool [patches], those that show the picture and no padding.
        steps: how many maps between all and nothing.
    Returns:
        Two of bool [steps, patches], True = hidden: deletion, from little to much hidden, and insertion, the other way.
    """
    order = np.flatnonzero(inside)[np.argsort(-cells[inside], kind="stable")]
    rank = np.full(len(cells), len(order))
    rank[order] = np.arange(len(order))
    counts = np.ceil(fractions(steps)[1:-1] * len(order))[:, None]
    return rank < counts, (rank >= counts) & inside


def area_under_curve(x: np.ndarray, values: Sequence[float]) -> float:
    """The area under the line through ``values`` at ``x`` (trapezoids)."""
    return float(np.trapezoid(np.asarray(values, float), x))
