"""Features: what encoder and bridge make of pictures. The tensors are torch's, named here and never imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlm_demo.contracts.geometry import View

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PatchFeatures:
    """What the encoder makes of some pictures.

    Attributes:
        features: [tiles of all pictures, patches, d_vision], after a CLS token if it is read too; those of pictures of
            different sizes lie in one row [1, patches of all pictures, d_vision].
        views: the pictures; empty where only pixels were given.
        names: the cache key of each picture's features; empty where they are not to be cached.
    """

    features: torch.Tensor
    views: tuple[View, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class BridgeInfo:
    """How pictures get into the language model.

    Attributes:
        kind: ``projector`` (each patch becomes an image token), ``Q-Former`` (a few queries gather the patches),
            ``cross-attention`` (layers of the language model look at the patches), ``whole`` (that can't be seen), or
            ``none`` (nothing is written).
        text: the same in a few words, with this model's numbers.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class ImageTokens:
    """What the language model reads.

    Attributes:
        embeddings: [tokens of all pictures, d_llm]; with cross-attention its keys [.., d_vision].
        counts: tokens of each picture.
        patch_weights: float32 [pictures, tokens, patches], how much each token attended to each patch, the mean
            over the bridge's layers and heads; None where each token is one patch.
        deep: [layers, tokens of all pictures, d_llm], what the first layers of the language model add to the tokens
            (DeepStack); None where they add nothing.
        grids: (rows, columns) of each picture's tokens, where the language model gets them.
        names: the cache key of each picture's tokens; empty where they are not to be cached.
    """

    embeddings: torch.Tensor
    counts: tuple[int, ...]
    patch_weights: torch.Tensor | None = None
    deep: torch.Tensor | None = None
    grids: tuple[tuple[int, int], ...] = ()
    names: tuple[str, ...] = ()
