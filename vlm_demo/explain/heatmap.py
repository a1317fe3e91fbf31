"""Heatmap: the attention rows of the steps that wrote a word → a map in the upload's own pixels.

Knows rows of weights and where patches lie; never looks at the upload's pixels. Raw attention is a hint and no proof:
how well each method points is measured elsewhere, and a checkpoint's own settings name the one that did best. The
table of all methods, those too that need more than recorded rows, is ``explain.methods``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from vlm_demo.contracts import View
from vlm_demo.contracts.attention import Settings
from vlm_demo.contracts.geometry import interpolate
from vlm_demo.errors import UnsupportedModel

METHODS = ("mean", "localised", "last", "heads", "weighted")
# What a checkpoint may name as its default: maps of recorded rows, which cost nothing.
DEFAULTS = ("raw", *METHODS, "queries")
LOCALISED_HEADS = 3
EVEN = 2  # shares below so many times an even one are told apart little by `log_shares`
SETTINGS_FILE = "vlm_demo.json"


def read_settings(folder: Path) -> Settings:
    """The ``heatmap`` part of the checkpoint's ``vlm_demo.json``; defaults where there is none.

    Raises:
        UnsupportedModel: the file is there and cannot be understood.
    """
    file = folder / SETTINGS_FILE
    if not file.is_file():
        return Settings()
    try:
        told = json.loads(file.read_text(encoding="utf-8")).get("heatmap", {})
        method = {"layer_mean": "mean"}.get(told.get("method", "mean"), told.get("method", "mean"))
        layers = told.get("layers")
        heads = tuple((int(layer), int(head)) for layer, head in told.get("heads", ()))
        scores = {str(name): float(score) for name, score in told.get("scores", {}).items()}
        layers = None if layers is None else tuple(int(layer) for layer in layers)
        weights = tuple(tuple(float(weight) for weight in layer) for layer in told.get("weights", ()))
        settings = Settings(method, layers, heads, scores, int(told.get("scored", 0)), weights)
    except (ValueError, AttributeError, TypeError) as error:
        raise UnsupportedModel(f"{file.name} of this checkpoint cannot be read: mend or delete it.") from error
    if settings.method not in DEFAULTS:
        raise UnsupportedModel(f"{file.name} names the method {settings.method}: choose one of {', '.join(DEFAULTS)}.")
    given = np.array([weight for layer in weights for weight in layer])
    if len({len(layer) for layer in weights}) > 1 or not (np.isfinite(given) & (given >= 0)).all():
        raise UnsupportedModel(f"{file.name} has weights that are no table of numbers from 0 up: mend or delete it.")
    return settings


def write_settings(folder: Path, settings: Settings) -> Path:
    """Put the settings into the checkpoint's ``vlm_demo.json``; what else it holds stays. Returns the file.

    Raises:
        UnsupportedModel: the file is there and cannot be understood.
    """
    file = folder / SETTINGS_FILE
    read_settings(folder)
    held = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    told: dict[str, object] = {"method": settings.method}
    told |= {"layers": settings.layers} if settings.layers is not None else {}
    told |= {"heads": settings.heads} if settings.heads else {}
    told |= {"weights": settings.weights} if settings.weights else {}
    told |= {"scores": settings.scores, "scored": settings.scored} if settings.scores else {}
    file.write_text(json.dumps(held | {"heatmap": told}, indent=1) + "\n", encoding="utf-8")
    return file


def draw(rows: np.ndarray, view: View, settings: Settings) -> np.ndarray:
    """The map of one word.

    Args:
        rows: float32 [steps, layers, heads, patches] of the steps that wrote the word; their maps are averaged.
        view: the picture.
        settings: how to join layers and heads.
    Returns:
        float32 [H, W] of the upload, 0..1 with a maximum of 1, or all zeros where every patch weighs the same.
    """
    return interpolate(combine(rows, view.grid, settings), view)


def combine(rows: np.ndarray, grid: tuple[int, int], settings: Settings) -> np.ndarray:
    """Rows [steps, layers, heads, patches] → [patches], the mean over the steps.

    Each head's weights are first scaled to a sum of 1 over the picture, so that a head which rests on the first token
    counts no less than others.
    """
    weights = np.array(settings.weights)
    if settings.method == "weighted":
        if weights.shape == rows.shape[1:3]:
            joined = np.tensordot(weights / max(weights.sum(), 1e-12), log_shares(rows), 2)
            return np.exp(joined - joined.max())
        settings = replace(settings, method="heads")
    return np.mean([_combined(step, grid, settings) for step in rows], axis=0)


def log_shares(rows: np.ndarray) -> np.ndarray:
    """How far each head favours each patch: rows [steps, layers, heads, patches] → [layers, heads, patches], from 0 up.

    log(1 + s / (``EVEN`` · e)) of a head's share s of the picture, the mean of the steps, and the even share e. Summed
    with weights it lets heads agree: where they all look counts for more than where one of them looks alone.
    """
    shares = (rows / np.maximum(rows.sum(-1, keepdims=True), 1e-12)).mean(0)
    return np.log1p(shares * rows.shape[-1] / EVEN)


def _combined(weights: np.ndarray, grid: tuple[int, int], settings: Settings) -> np.ndarray:
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
        # A head that hardly looks at the picture is not asked where it looks.
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
