"""Named heads: the mean of the heads that pointed best on pictures drawn for this choice."""

from __future__ import annotations

import numpy as np

from vlm_demo.explain.heatmap import combine
from vlm_demo.explain.methods.request import MapInputs


def cells(request: MapInputs) -> np.ndarray:
    """[patches] of the checkpoint's own heads."""
    return combine(request.rows, request.view.grid, request.settings)


def lacks(request: MapInputs) -> str | None:
    if request.settings.heads:
        return None
    return "This checkpoint names no heads: choose them with `evaluate FOLDER --pointing --choose`, or take localised."
