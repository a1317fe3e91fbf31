"""Weighted heads: every head counts as much as it helps to point, by weights fitted on pictures with boxes; one that
looks beside the named thing counts against what it looks at.

Looks at the step that wrote the word's last token and at the one after it: before "red circle" was written many things
might have been meant, after it one.
"""

from __future__ import annotations

import numpy as np

from vlm_demo.explain.heatmap import combine
from vlm_demo.explain.methods.request import MapInputs


def cells(request: MapInputs) -> np.ndarray:
    """[patches], the geometric mean of `contracts.attention.log_shares` of each head, weighted."""
    rows = request.trace.ending(request.image, request.steps)
    return combine(rows, request.view.grid, request.settings)


def lacks(request: MapInputs) -> str | None:
    if np.shape(request.settings.weights) == request.trace.image.shape[1:3]:
        return None
    return (
        "This checkpoint has no weights for its heads: fit them with `evaluate FOLDER --pointing --choose`, or take "
        "localised."
    )
