"""Localised heads: the mean of the few heads whose weights lie closest together (Kang et al. 2025)."""

from __future__ import annotations

import numpy as np

from vlm_demo.explain.heatmap import combine
from vlm_demo.explain.methods.request import MapInputs


def cells(request: MapInputs) -> np.ndarray:
    """[patches]; which heads these are is decided anew for each step, among those that look at the picture at all."""
    return combine(request.rows, request.view.grid, request.settings)
