"""Attention: the rows that were recorded while an answer was written, and how a checkpoint makes maps of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vlm_demo.contracts.geometry import PatchGrid, on_patches

EVEN = 2  # `log_shares` hardly distinguishes shares below so many times an even one


@dataclass(frozen=True)
class HeatmapSettings:
    """How a checkpoint's maps are made.

    Attributes:
        method: one of ``checkpoint_settings.DEFAULTS``: ``mean`` of all heads, ``localised`` = of the few most
            concentrated heads, ``last`` layer's mean, ``heads`` = of those that the checkpoint names,
            ``weighted`` = of all by ``weights``, ...
        layers: which layers ``mean`` and ``localised`` look at; None = all. Negative ones count from the end.
        heads: (layer, head) of the heads that point best, for ``heads``; where none are named it is ``localised``.
        scores: how often each method of ``explain.methods`` pointed right on held-out pictures, 0..1; empty where
            nothing was measured.
        scored: on how many phrases that was measured.
        weights: [layers][heads] for ``weighted``, negative where a head looks beside the thing; where none fit the rows
            it is ``heads``.
    """

    method: str = "mean"
    layers: tuple[int, ...] | None = None
    heads: tuple[tuple[int, int], ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    scored: int = 0
    weights: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class Trace:
    """The attention of every answer token's step.

    Attributes:
        image: float16 [tokens, layers, heads, image tokens of all pictures].
        text: float16 [tokens, layers, heads], the share on other tokens but the first; None where these layers look at
            pictures and nothing else (cross-attention).
        first: float16 [tokens, layers, heads], the share on the first token; None likewise.
        counts: image tokens of each picture.
        leading: how many features of each picture come before the one of its first patch.
        settings: the checkpoint's default.
        patch_weights: float16 [pictures, image tokens, features], how much each image token attended to each patch;
            None where image tokens are patches.
        patch_grids: of each picture, as in ``View``; empty = one image token a patch, in order.
        closing: float16 [1, layers, heads, image tokens], the step after the last token; None where it was not taken.
    """

    image: np.ndarray
    text: np.ndarray | None
    first: np.ndarray | None
    counts: tuple[int, ...]
    leading: int
    settings: HeatmapSettings
    patch_weights: np.ndarray | None = None
    patch_grids: tuple[tuple[PatchGrid, ...], ...] = ()
    closing: np.ndarray | None = None

    def rows(self, picture: int, steps: Sequence[int] | None = None) -> np.ndarray:
        """float32 [steps, layers, heads, patches] of one picture; ``steps`` are indices of tokens, None = all."""
        start, stop = sum(self.counts[:picture]), sum(self.counts[: picture + 1])
        # Chosen before it is cast: a long answer of a large model holds a hundred million weights.
        chosen = (self.image if steps is None else self.image[list(steps)])[..., start:stop].astype(np.float32)
        return self._on_patches(chosen, picture)

    def ending(self, picture: int, steps: Sequence[int]) -> np.ndarray:
        """float32 [1 or 2, layers, heads, patches] of one picture: the last of ``steps``, and the step after it, which
        was the first to read what they wrote; that one only where it was taken."""
        last = steps[-1]
        if last + 1 < len(self.image):
            return self.rows(picture, [last, last + 1])
        rows = self.rows(picture, [last])
        return rows if self.closing is None else np.concatenate([rows, self.on_patches(self.closing, picture)])

    def on_patches(self, weights: np.ndarray, picture: int) -> np.ndarray:
        """Any weights [..., image tokens of all pictures] → float32 [..., patches] of one picture, as `rows` does."""
        start, stop = sum(self.counts[:picture]), sum(self.counts[: picture + 1])
        return self._on_patches(weights[..., start:stop].astype(np.float32), picture)

    def _on_patches(self, weights: np.ndarray, picture: int) -> np.ndarray:
        if self.patch_weights is not None:
            weights = weights @ self.patch_weights[picture].astype(np.float32)
        weights = weights[..., self.leading :]
        return on_patches(weights, self.patch_grids[picture]) if self.patch_grids else weights


def log_shares(rows: np.ndarray) -> np.ndarray:
    """How much each head favours each patch: rows [steps, layers, heads, patches] → [layers, heads, patches] from 0 up.

    log(1 + s / (``EVEN`` · e)) of a head's share s of the picture, the mean of the steps, and the even share e. Summed
    with weights it lets heads agree: where they all look counts for more than where one of them looks alone.
    """
    shares = (rows / np.maximum(rows.sum(-1, keepdims=True), 1e-12)).mean(0)
    return np.log1p(shares * rows.shape[-1] / EVEN)
