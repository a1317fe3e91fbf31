"""Relevancy: attention that mattered for the word, gradient × attention through all layers (Chefer et al. 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlm_demo.explain.methods.flow import flow, lacks_memory
from vlm_demo.explain.methods.request import MapInputs


def cells(request: MapInputs) -> np.ndarray:
    """[patches], the mean of the word's steps: R ← R + Ā R from the first layer to the last, with Ā of `relevance` and
    the gradient of the word's logit (equations 5 and 6, https://arxiv.org/abs/2103.15679)."""
    answer, model = request.answer, request.teacher_forcing
    positions = answer.prompt.image_positions
    found = model.gradients(answer, request.steps, relevance)
    seen = [
        flow(layers, model.at(answer, step), positions, 1.0, 1.0)
        for step, layers in zip(request.steps, found, strict=True)
    ]
    return request.trace.on_patches(np.mean(seen, axis=0), request.image)


def relevance(weights: Any, gradient: Any) -> Any:
    """Two tensors [heads, queries, keys] → Ā [queries, keys]: E_h((∇A ⊙ A)⁺), the mean over the heads of what made the
    target likelier."""
    return (weights * gradient).clamp(min=0).mean(0)


def lacks(request: MapInputs) -> str | None:
    return lacks_memory(request, 4)  # of the matrices, their gradients and what is kept for these
