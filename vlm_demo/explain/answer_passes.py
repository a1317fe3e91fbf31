"""Answer passes: what passes of a language model over a prompt and its answer give to explanations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vlm_demo.contracts import ImageTokens, PatchFeatures
from vlm_demo.runtime import attention_tap


@dataclass(frozen=True)
class Layer:
    """One layer's attention: ``weights`` float32 [heads, queries, keys], and whether the keys are image tokens and
    nothing else (cross-attention) or the queries' own tokens."""

    weights: Tensor
    of_pictures: bool


@dataclass(frozen=True)
class AnswerLikelihoods:
    """How likely an answer's tokens are under some changes, each token given those before it.

    Attributes:
        logprobs: float32 [changes, tokens], natural logarithms of their probabilities.
        likeliest: bool [changes, tokens], whether no other token is likelier.
    """

    logprobs: np.ndarray
    likeliest: np.ndarray


@dataclass(frozen=True)
class RecordedPass:
    """What was recorded of one pass over prompt and answer, at the positions that predict the answer's tokens.

    Attributes:
        patches, tokens: what encoder and bridge made of the pictures.
        embeddings: [prompt and answer, d_llm], what the first layer was given.
        states: of each layer of the language model, in the order in which they ran, what it was given and what it gave,
            each [tokens, d_llm].
        layers: those layers.
        last: [tokens, d_llm], the last hidden states, which the head reads.
        norm: what makes ``last`` of the last layer's output.
        rows: the attention rows of these places in the layers that look at pictures; None where none were recorded.
    """

    patches: list[PatchFeatures]
    tokens: ImageTokens
    embeddings: Tensor
    states: list[tuple[Tensor, Tensor]]
    layers: list[torch.nn.Module]
    last: Tensor
    norm: Callable[[Tensor], Tensor]
    rows: attention_tap.Rows | None
