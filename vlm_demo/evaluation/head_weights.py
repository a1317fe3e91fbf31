"""Head weights: how much each attention head counts in a map, fitted on words whose right place is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlm_demo.contracts import View
from vlm_demo.evaluation.pointing import Box

ROUNDS, RATE = 150, 0.1  # of Adam
RIDGE = 1e-3  # how strongly weights are held near 0
BEGIN = 6.0  # what the weights sum to before the first round
LEAST = 1e-3  # a thing that got no heat at all costs -log of this


def fit(logs: np.ndarray, covers: np.ndarray, shown: np.ndarray, kinds: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """Non-negative weights under which the heat lies on the things.

    Heat is the softmax over the shown patches of the weighted sum of ``logs``; what is made small is the negative
    logarithm of its share on the thing, the mean over the items of a kind and then over the kinds.

    Args:
        logs: float [items, layers, heads, patches], as `contracts.attention.log_shares` gives them.
        covers: float [items, patches], how much of each patch the thing covers, 0..1.
        shown: bool [items, patches], False = padding.
        kinds: of each item.
    Returns:
        [layers][heads], together 1.
    """
    import torch

    heads = torch.tensor(logs.reshape(len(logs), -1, logs.shape[-1]), dtype=torch.float32)
    right, padding = torch.tensor(covers, dtype=torch.float32), torch.tensor(~shown)
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    counted = torch.tensor([1 / (len(counts) * counts[kind]) for kind in kinds], dtype=torch.float32)
    begin = float(np.log(np.expm1(BEGIN / heads.shape[1])))
    free = torch.full((heads.shape[1],), begin, requires_grad=True)
    with torch.enable_grad():
        optimiser = torch.optim.Adam([free], RATE)
        for _ in range(ROUNDS):
            weights = torch.nn.functional.softplus(free)
            heat = torch.einsum("nhp,h->np", heads, weights).masked_fill(padding, -torch.inf).softmax(-1)
            loss = -(counted * ((heat * right).sum(-1) + LEAST).log()).sum() + RIDGE * weights.square().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    found = torch.nn.functional.softplus(free).detach().numpy().astype(float)
    table = (found / found.sum()).reshape(logs.shape[1:3])
    return tuple(tuple(round(float(weight), 5) for weight in layer) for layer in table)


def cover(view: View, boxes: Sequence[Box]) -> np.ndarray:
    """float [patches], how much of each patch of the view one of the boxes covers at most, 0..1."""
    patches = view.boxes.astype(float)
    areas = (patches[:, 2] - patches[:, 0]) * (patches[:, 3] - patches[:, 1])
    found = np.zeros(len(patches))
    for x0, y0, x1, y1 in boxes:
        across = np.minimum(patches[:, 2], x1) - np.maximum(patches[:, 0], x0)
        down = np.minimum(patches[:, 3], y1) - np.maximum(patches[:, 1], y0)
        found = np.maximum(found, np.clip(across, 0, None) * np.clip(down, 0, None) / areas)
    return found
