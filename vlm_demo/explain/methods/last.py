"""Last layer: the mean of its heads, which is what most viewers of attention draw."""

from __future__ import annotations

import numpy as np

from vlm_demo.explain.heatmap import combine
from vlm_demo.explain.methods.request import MapInputs


def cells(request: MapInputs) -> np.ndarray:
    """[patches], each head scaled to a sum of 1 over the picture."""
    return combine(request.rows, request.view.grid, request.settings)
