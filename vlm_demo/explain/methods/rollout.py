"""Attention rollout: attention multiplied through all layers (Abnar and Zuidema 2020)."""

from __future__ import annotations

import numpy as np

from vlm_demo.explain.methods.flow import flow, lacks_memory
from vlm_demo.explain.methods.request import MapInputs


def cells(request: MapInputs) -> np.ndarray:
    """[patches], the mean of the word's steps. Half of each layer's output is its residual input, half its heads' mean
    (section 3, https://arxiv.org/abs/2005.00928)."""
    answer, model = request.answer, request.teacher_forcing
    layers = [(layer.weights.mean(0), layer.of_pictures) for layer in model.attentions(answer)]
    positions = answer.prompt.image_positions
    seen = [flow(layers, model.at(answer, step), positions, 0.5, 0.5) for step in request.steps]
    return request.trace.on_patches(np.mean(seen, axis=0), request.image)


def lacks(request: MapInputs) -> str | None:
    return lacks_memory(request, 1)
