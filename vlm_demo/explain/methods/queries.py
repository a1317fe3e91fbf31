"""Queries × patches: the Q-Former's queries that the word attends to, each spread over its attention on the patches."""

from __future__ import annotations

import numpy as np

from vlm_demo.explain.methods.request import MapInputs


def cells(request: MapInputs) -> np.ndarray:
    """[patches], never below 0: how much more the word's mix of queries attends to each than an even mix of all does.

    Queries attend to much the same patches, whatever the question is. That common part has nothing to do with the word,
    so it is subtracted; the other methods leave it in.
    """
    trace, image = request.trace, request.image
    start, stop = sum(trace.counts[:image]), sum(trace.counts[: image + 1])
    weights = trace.image[list(request.steps), ..., start:stop].astype(np.float32)
    mix = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-12)  # each head counts alike
    more = np.zeros(sum(trace.counts), np.float32)
    more[start:stop] = mix.mean((0, 1, 2)) - 1 / (stop - start)
    return np.maximum(trace.on_patches(more, image), 0)


def lacks(request: MapInputs) -> str | None:
    if request.trace.patch_weights is not None:
        return None
    return "This model has no Q-Former, whose queries could be followed to the patches: choose another method."
