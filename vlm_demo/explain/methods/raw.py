"""Raw attention: the weights as they are, of one layer and head, or the mean of all."""

from __future__ import annotations

import numpy as np

from vlm_demo.errors import VlmDemoError
from vlm_demo.explain.methods.request import MapInputs


def cells(request: MapInputs) -> np.ndarray:
    """[patches], the mean of the word's steps and of the chosen layers and heads, nothing scaled.

    Raises:
        VlmDemoError: there is no such layer or head.
    """
    weights = request.rows.mean(0)  # [layers, heads, patches]
    for name, chosen, axis in (("layer", request.layer, 0), ("head", request.head, 1)):
        if chosen is None:
            continue
        count = weights.shape[axis]
        if not 0 <= chosen < count:
            raise VlmDemoError(f"There is no {name} {chosen}: this model records {count}, counted from 0.")
        weights = weights.take([chosen], axis)
    return weights.mean((0, 1))
