"""Flow: whole attention matrices of all layers → how much one token got from each image token, along every path.

What rollout and relevancy have in common; they differ in how they combine a layer's heads, and in the weight of the
residual path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vlm_demo.explain.methods.request import MapInputs

MOST_BYTES = 3 << 30  # that all attention matrices may take


def lacks_memory(request: MapInputs, copies: int) -> str | None:
    """Why an answer is too long for a method that holds all attention matrices in so many copies; None = it is not."""
    needed = copies * request.teacher_forcing.attention_bytes(request.answer)
    if needed <= MOST_BYTES:
        return None
    return (
        f"Over this prompt all attention matrices take {needed / 1e9:.0f} GB: choose another method, or ask with less "
        "text."
    )


def flow(
    layers: Sequence[tuple[Any, bool]], start: Any, positions: Sequence[int], keep: float, give: float
) -> np.ndarray:
    """Follow a row through the product Π (keep · I + give · A) from the last layer down to the first.

    Args:
        layers: in the order in which they ran, each a float tensor [queries, keys], and whether its keys are image
            tokens and nothing else (cross-attention), or the same tokens as its queries.
        start: float tensor [queries], where the row begins: a 1 at the token in question.
        positions: where the image tokens stand among the tokens.
        keep, give: the weights of the residual path and of the attention.
    Returns:
        float32 [image tokens of all pictures]. The first token, the attention sink, is no image token, so what ends
        there is left out.
    """
    row, to_images = start, None
    for attention, of_pictures in reversed(layers):
        attended = give * (row @ attention)
        if of_pictures:
            to_images = attended if to_images is None else to_images + attended
            row = keep * row
        else:
            row = keep * row + attended
    return (row[list(positions)] if to_images is None else to_images).float().cpu().numpy()
