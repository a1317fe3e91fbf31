"""Principal components: vectors of many dimensions → three numbers each, shown as red, green and blue.

The axes belong to one reference, so that the same vector has the same colour whatever picture it stands in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHOWN = 3
EDGES = (2.0, 98.0)  # percentiles of the reference between which a colour runs from none to full


@dataclass(frozen=True, eq=False)
class Axes:
    """Where colours come from.

    Attributes:
        mean: float32 [d], of the reference.
        directions: float32 [3, d], of the reference's largest variance, unit vectors that are square to each other;
            the largest number of each is positive. Zeros where it has fewer.
        low, high: float32 [3], the reference's scores along them that have no colour, and full colour.
    """

    mean: np.ndarray
    directions: np.ndarray
    low: np.ndarray
    high: np.ndarray


def axes_of(values: np.ndarray) -> Axes:
    """The axes of a reference, float32 [n, d], by singular value decomposition."""
    mean = values.mean(0)
    _, _, rows = np.linalg.svd(values - mean, full_matrices=False)
    directions = np.zeros((SHOWN, values.shape[1]), np.float32)
    directions[: min(SHOWN, len(rows))] = rows[:SHOWN]
    largest = np.abs(directions).argmax(1)
    signs = np.sign(directions[range(SHOWN), largest])
    directions *= np.where(signs == 0, 1, signs)[:, None]
    scores = (values - mean) @ directions.T
    low, high = np.percentile(scores, EDGES, axis=0).astype(np.float32)
    return Axes(mean, directions, low, high)


def colours(values: np.ndarray, axes: Axes) -> np.ndarray:
    """Red, green and blue of vectors [n, d]: uint8 [n, 3]. An axis along which the reference is flat is half bright."""
    scores = (values - axes.mean) @ axes.directions.T
    span = axes.high - axes.low
    flat = span <= 1e-6 * np.abs(axes.high).max(initial=1e-6)
    shares = np.where(flat, 0.5, (scores - axes.low) / np.where(flat, 1, span))
    return (np.clip(shares, 0, 1) * 255).round().astype(np.uint8)


def explained_variance(values: np.ndarray, axes: Axes) -> float:
    """The share of the variance of vectors [n, d] along the axes, 0..1."""
    centred = (values - values.mean(0)).astype(np.float64)
    whole = float((centred**2).sum())
    return float(((centred @ axes.directions.T) ** 2).sum()) / whole if whole else 0.0
