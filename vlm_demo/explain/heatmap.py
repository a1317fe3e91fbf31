"""Heatmap: the attention rows of the steps that wrote a word → a map in the upload's own pixels.

Knows rows of weights and where patches lie; never looks at the upload's pixels. Raw attention is a hint and no proof:
how well each method points is measured elsewhere, and a checkpoint's own settings name the one that did best. The
table of all methods, those too that need more than recorded rows, is ``explain.methods``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vlm_demo.contracts import View
from vlm_demo.contracts.attention import HeatmapSettings, log_shares
from vlm_demo.contracts.geometry import interpolate

LOCALISED_HEADS = 3


def draw(rows: np.ndarray, view: View, settings: HeatmapSettings) -> np.ndarray:
    """The map of one word.

    Args:
        rows: float32 [steps, layers, heads, patches] of the steps that wrote the word; their maps are averaged.
        view: the picture.
        settings: how to join layers and heads.
    Returns:
        float32 [H, W] of the upload, 0..1 with a maximum of 1, or all zeros where every patch weighs the same.
    """
    return interpolate(combine(rows, view.grid, settings), view)


def combine(rows: np.ndarray, grid: tuple[int, int], settings: HeatmapSettings) -> np.ndarray:
    """Rows [steps, layers, heads, patches] → [patches], the mean over the steps.

    Each head's weights are first scaled to a sum of 1 over the picture, so that a head with an attention sink counts
    no less than others.
    """
    weights = np.array(settings.weights)
    if settings.method == "weighted":
        if weights.shape == rows.shape[1:3]:
            joined = np.tensordot(weights / max(np.abs(weights).sum(), 1e-12), log_shares(rows), 2)
            return np.exp(joined - joined.max())
        settings = replace(settings, method="heads")
    return np.mean([_combined(step, grid, settings) for step in rows], axis=0)


def _combined(weights: np.ndarray, grid: tuple[int, int], settings: HeatmapSettings) -> np.ndarray:
    """[layers, heads, patches] → [patches]."""
    depth = len(weights)
    named = [(layer, head) for layer, head in settings.heads if layer < depth and head < weights.shape[1]]
    method = "localised" if settings.method == "heads" and not named else settings.method
    if method == "heads":
        weights = np.stack([weights[layer, head] for layer, head in named])
    elif method == "last":
        weights = weights[-1:]
    elif settings.layers is not None:
        weights = weights[[layer for layer in settings.layers if -depth <= layer < depth]]
    heads = weights.reshape(-1, weights.shape[-1])
    mass = heads.sum(-1, keepdims=True)
    shares = heads / np.maximum(mass, 1e-12)
    if method == "localised":
        # A head that hardly attends to the picture is left out.
        looking = np.flatnonzero(mass[:, 0] >= np.median(mass))
        entropy = spatial_entropy(shares[looking].reshape(-1, *grid))
        shares = shares[looking[np.argsort(entropy, kind="stable")[:LOCALISED_HEADS]]]
    return shares.mean(0)


def spatial_entropy(maps: np.ndarray) -> np.ndarray:
    """How scattered each map [n, rows, columns] is, in nats: the entropy of the sizes of its connected hot regions.

    A cell is hot above the map's mean; regions join over edges and corners (Kang et al. 2025,
    https://arxiv.org/abs/2503.06287). One region gives 0, as few as possible is "localised".
    """
    n, rows, columns = maps.shape
    hot = maps > maps.mean((1, 2), keepdims=True)
    labels = np.where(hot, np.arange(1, rows * columns + 1).reshape(rows, columns), 0)
    while True:  # every hot cell takes the largest label around it, until nothing changes
        padded = np.pad(labels, ((0, 0), (1, 1), (1, 1)))
        around = [padded[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
        spread = np.where(hot, np.maximum.reduce(around), 0)
        if (spread == labels).all():
            break
        labels = spread
    entropies = np.zeros(n)
    for i in range(n):
        sizes = np.unique(labels[i][hot[i]], return_counts=True)[1]
        shares = sizes / max(sizes.sum(), 1)
        entropies[i] = -(shares * np.log(shares)).sum() if len(sizes) else np.inf
    return entropies
