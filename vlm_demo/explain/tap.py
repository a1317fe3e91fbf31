"""Tap: SDPA attention that, beside its output, hands out the few rows of weights that heatmaps are made of.

Full weights (``output_attentions=True``) need eager attention: several times the memory and time. A word's map needs
one row of each head, the one of the token that was read last, so only this row is computed, in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "tapped_sdpa"


@dataclass(frozen=True)
class Rows:
    """Attention weights of some steps, each softmax row summing to 1 over all keys.

    Attributes:
        image: float32 [steps, layers, heads, image tokens], the weights on the image tokens.
        text: float32 [steps, layers, heads], the weight on everything else but the first token.
        first: float32 [steps, layers, heads], the weight on the first token, where heads rest that look at nothing.
    """

    image: Tensor
    text: Tensor
    first: Tensor


@dataclass
class Recorder:
    """Collects rows during one forward pass.

    Attributes:
        columns: int64 [image tokens], their positions among the keys.
        last: how many of the last queries are wanted.
        layers: layer index → image [heads, last, image tokens], text and first [heads, last], as they arrive.
    """

    columns: Tensor
    last: int
    layers: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    def take(self, layer: int, weights: Tensor) -> None:
        """Keep what is needed of weights [heads, last, keys]."""
        image = weights[:, :, self.columns.to(weights.device)]
        first = weights[:, :, 0]
        text = weights.sum(-1) - first - image.sum(-1)
        self.layers[layer] = (image, text, first)

    def rows(self) -> Rows | None:
        """What was collected, or None where no tapped layer ran."""
        if not self.layers:
            return None
        ordered = [self.layers[index] for index in sorted(self.layers)]
        image, text, first = (torch.stack(parts).movedim(2, 0).cpu() for parts in zip(*ordered, strict=True))
        return Rows(image, text, first)


_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


@contextmanager
def recording(columns: Tensor | Sequence[int], last: int = 1) -> Iterator[Recorder]:
    """Collect the rows of the ``last`` queries in every tapped layer that runs inside."""
    recorder = Recorder(torch.as_tensor(columns, dtype=torch.long), last)
    token = _recorder.set(recorder)
    try:
        yield recorder
    finally:
        _recorder.reset(token)


def install(language_model: torch.nn.Module) -> None:
    """Switch a loaded language model to the tapped attention; without a recorder it is plain SDPA."""
    AttentionInterface.register(NAME, tapped_sdpa)
    # Without a mask of the same name transformers builds none, and the model runs unmasked without a word.
    AttentionMaskInterface.register(NAME, sdpa_mask)
    language_model.set_attn_implementation(NAME)


def tapped_sdpa(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: object
) -> tuple[Tensor, None]:
    """transformers calls it with query [batch, heads, queries, d], key and value [batch, key heads, keys, d]."""
    recorder = _recorder.get()
    if recorder is not None:
        recorder.take(module.layer_idx, _last_rows(query, key, attention_mask, recorder.last, kwargs.get("scaling")))
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)


def _last_rows(query: Tensor, key: Tensor, mask: Tensor | None, last: int, scaling: object) -> Tensor:
    """Softmax weights [heads, last, keys] of the last queries of the first batch item, in float32."""
    heads, queries, width = query.shape[1:]
    keys = key.shape[2]
    wanted = query[0, :, queries - last :].float()
    # Grouped-query attention: several query heads share a key head.
    shared = wanted.reshape(key.shape[1], heads // key.shape[1], last, width)
    scores = shared @ key[0].float().unsqueeze(1).transpose(-1, -2)
    scores = scores.reshape(heads, last, keys) * (width**-0.5 if scaling is None else scaling)
    if mask is None:
        # SDPA was asked to be causal, so query i of the last sees all keys but the ones after it.
        at = torch.arange(keys, device=scores.device)
        scores = scores.masked_fill(at > at[keys - last :, None], float("-inf"))
    else:
        given = mask[0, :, queries - last :, :keys]
        scores = scores.masked_fill(~given, float("-inf")) if given.dtype == torch.bool else scores + given.float()
    return scores.softmax(-1)
