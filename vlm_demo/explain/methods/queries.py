"""Queries × patches: the Q-Former's queries that the word looked at, each spread over the patches that it had seen."""

from __future__ import annotations

import numpy as np

from vlm_demo.explain.methods.request import MapInputs


def cells(request: MapInputs) -> np.ndarray:
    """[patches], never below 0: what the word's mix of queries saw more of than an even mix of all queries did.

    Queries look at much the same patches, whatever is asked. That common part says nothing about the word, so it is
    taken off; the other methods leave it in.
    """
    trace, image = request.trace, request.image
    start, stop = sum(trace.counts[:image]), sum(trace.counts[: image + 1])
    weights = trace.image[list(request.steps), ..., start:stop].astype(np.float32)
    mix = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-12)  # each head counts alike
    more = np.zeros(sum(trace.counts), np.float32)
    more[start:stop] = mix.mean((0, 1, 2)) - 1 / (stop - start)
    return np.maximum(trace.on_patches(more, image), 0)


def lacks(request: MapInputs) -> str | None:
    if request.trace.looks is not None:
        return None
    return "This model has no Q-Former, whose queries could be followed to the patches: choose another method."
