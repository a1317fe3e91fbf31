"""Mean: every head's weights, scaled to a sum of 1 over the picture, averaged."""

from __future__ import annotations

import numpy as np

from vlm_demo.explain.heatmap import combine
from vlm_demo.explain.methods.request import MapInputs


def cells(request: MapInputs) -> np.ndarray:
    """[patches], of the layers that the settings name, or all. Heads with an attention sink count no less."""
    return combine(request.rows, request.view.grid, request.settings)
