"""Pointing: does a heatmap's hottest pixel lie on the named thing?

The pointing game of Zhang et al. 2016 (https://arxiv.org/abs/1608.00507), without its margin. Knows nothing of how
the map was made.
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
    spot = hottest(heatmap)
    if spot is None:
        return False
    x, y = spot[0] + 0.5, spot[1] + 0.5
    return any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)
