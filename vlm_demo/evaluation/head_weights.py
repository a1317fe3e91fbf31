"""Head weights: the weight of each attention head in a map, fitted on words whose place is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlm_demo.contracts import View
from vlm_demo.evaluation.pointing import Box

ROUNDS, RATE = 150, 0.01  # of Adam
RIDGE = 1e-2  # the L2 penalty on the weights
INITIAL_SUM = 6.0  # of the weights before the first round
MIN_SHARE = 1e-3  # added to a share before its logarithm


def fit(
    logs: np.ndarray, covers: np.ndarray, in_picture: np.ndarray, kinds: Sequence[str]
) -> tuple[tuple[float, ...], ...]:
    """Weights under which the heat lies on the things; those of heads that look beside them may be negative.

    Heat is the softmax over the patches in the picture of the weighted sum of ``logs``; the loss is the negative
    logarithm of its share on the thing, the mean over the items of a kind and then over the kinds.

    Args:
        logs: float [items, layers, heads, patches], as `contracts.attention.log_shares` gives them.
        covers: float [items, patches], how much of each patch the thing covers, 0..1.
        in_picture: bool [items, patches], False = padding.
        kinds: of each item.
    Returns:
        [layers][heads], whose absolute values have the sum 1.
    """
    import torch

    heads = torch.tensor(logs.reshape(len(logs), -1, logs.shape[-1]), dtype=torch.float32)
    coverage, padding = torch.tensor(covers, dtype=torch.float32), torch.tensor(~in_picture)
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    item_weights = torch.tensor([1 / (len(counts) * counts[kind]) for kind in kinds], dtype=torch.float32)
    weights = torch.full((heads.shape[1],), INITIAL_SUM / heads.shape[1], requires_grad=True)
    with torch.enable_grad():
        optimiser = torch.optim.Adam([weights], RATE)
        for _ in range(ROUNDS):
            heat = torch.einsum("nhp,h->np", heads, weights).masked_fill(padding, -torch.inf).softmax(-1)
            loss = (
                -(item_weights * ((heat * coverage).sum(-1) + MIN_SHARE).log()).sum() + RIDGE * weights.square().sum()
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    final = weights.detach().numpy().astype(float)
    table = (final / np.abs(final).sum()).reshape(logs.shape[1:3])
    return tuple(tuple(round(float(weight), 5) for weight in layer) for layer in table)


def cover(view: View, boxes: Sequence[Box]) -> np.ndarray:
    """float [patches], how much of each patch of the view one of the boxes covers at most, 0..1."""
    patches = view.boxes.astype(float)
    areas = (patches[:, 2] - patches[:, 0]) * (patches[:, 3] - patches[:, 1])
    covered = np.zeros(len(patches))
    for x0, y0, x1, y1 in boxes:
        widths = np.minimum(patches[:, 2], x1) - np.maximum(patches[:, 0], x0)
        heights = np.minimum(patches[:, 3], y1) - np.maximum(patches[:, 1], y0)
        covered = np.maximum(covered, np.clip(widths, 0, None) * np.clip(heights, 0, None) / areas)
    return covered
