"""Attention tap: SDPA attention that also records the few rows of weights that heatmaps are made of.

Full weights (``output_attentions=True``) need eager attention: several times the memory and time. A word's map needs
one row of each head, the last query's, so only this row is computed, in float32. The same tap records a Q-Former's
queries on the patches, and cross-attention layers, whose keys are patches and nothing else.
Methods that need all rows, or gradients, ask for whole matrices in a pass of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from vlm_demo.runtime.batch_cache import Padded

NAME = "tapped_sdpa"
MANY_QUERIES = 64  # recorded at once, from which only the parts that are kept are held


@dataclass(frozen=True)
class Rows:
    """Attention weights of some steps, each softmax row summing to 1 over all keys.

    Attributes:
        image: float32 [steps, layers, heads, image tokens], the weights on the image tokens.
        text: float32 [steps, layers, heads], the weight on everything else but the first token; None where the keys
            are image tokens and nothing else.
        first: float32 [steps, layers, heads], the weight on the first token (attention sink);
            None likewise.
    """

    image: Tensor
    text: Tensor | None
    first: Tensor | None

    def step(self, index: int) -> Rows:
        """The rows of one step."""
        one = slice(index, index + 1)
        if self.text is None or self.first is None:
            return Rows(self.image[one], None, None)
        return Rows(self.image[one], self.text[one], self.first[one])


Parts = tuple[Tensor, Tensor, Tensor]  # image, text and first of ``Rows``
HalfRows = tuple[np.ndarray | None, ...]  # image, text and first of ``Rows``, float16


def halved(rows: Rows | None) -> HalfRows | None:
    """Half precision: a long answer of a large model holds a hundred million weights."""
    return None if rows is None else tuple(half(part) for part in (rows.image, rows.text, rows.first))


def half(weights: torch.Tensor | None) -> np.ndarray | None:
    """The same in half precision."""
    return None if weights is None else weights.to(torch.float16).numpy()


@dataclass
class Recorder:
    """Collects rows during one forward pass.

    Attributes:
        columns: int64 [image tokens], their positions among the keys; None = all keys are image tokens.
        last: how many of the last queries are wanted; None = all.
        only: the attention modules that are recorded; None = every tapped one.
        length: how many keys there are; a layer that looks back over a window holds the last of them only. None = all
            layers hold all.
        layers: the weights [heads, batch × last, keys] of each, in the order in which they ran; of many queries in the
            three parts of ``Rows``.
    """

    columns: Tensor | None
    last: int | None
    only: Collection[torch.nn.Module] | None
    length: int | None = None
    layers: list[Tensor | Parts] = field(default_factory=list)

    def wants(self, module: torch.nn.Module) -> bool:
        """Whether this attention module is recorded."""
        return self.only is None or module in self.only

    def take(self, weights: Tensor) -> None:
        """Keep weights [heads, batch × last, keys]; keys that a window has left behind have none."""
        left_out = 0 if self.length is None or self.columns is None else self.length - weights.shape[-1]
        weights = torch.nn.functional.pad(weights, (left_out, 0)) if left_out else weights
        cuts = self.columns is not None and weights.shape[1] > MANY_QUERIES  # whole, they would fill the memory
        self.layers.append(self._parts(weights) if cuts else weights)

    def rows(self) -> Rows | None:
        """What was collected, or None where no tapped layer ran. Steps are the batch's wanted queries, one item's after
        the other's."""
        if not self.layers:
            return None
        parts = [layer for layer in self.layers if isinstance(layer, tuple)]
        if parts:
            image, text, first = (torch.stack(part).movedim(2, 0).cpu() for part in zip(*parts, strict=True))
            return Rows(image, text, first)
        weights = torch.stack([layer for layer in self.layers if isinstance(layer, Tensor)]).movedim(2, 0).cpu()
        return Rows(weights, None, None) if self.columns is None else Rows(*self._parts(weights))

    def _parts(self, weights: Tensor) -> Parts:
        """Weights [..., keys] → those of the image tokens [..., image tokens], of the other tokens together and of the
        first one, each [...]."""
        assert self.columns is not None
        columns = self.columns.numpy()
        # Image tokens stand in a few rows together, and to cut these out is faster than to pick each.
        together = np.split(columns, np.flatnonzero(np.diff(columns) != 1) + 1)
        image = torch.cat([weights[..., run[0] : run[-1] + 1] for run in together], -1)
        # Some prompts begin with the picture, whose first token is then no attention sink.
        first = torch.zeros_like(weights[..., 0]) if 0 in columns else weights[..., 0].clone()
        return image, weights.sum(-1) - first - image.sum(-1), first


@dataclass
class Matrices:
    """Collects whole matrices during one forward pass, and lets gradients through them.

    Attributes:
        layers: each attention module that ran, in order, and its weights float32 [batch, heads, queries, keys].
    """

    layers: list[tuple[torch.nn.Module, Tensor]] = field(default_factory=list)


# Of a step of several sequences, one for each that is recorded.
PerSequence = tuple[Recorder | None, ...]
_recorder: ContextVar[Recorder | Matrices | PerSequence | None] = ContextVar("recorder", default=None)


@contextmanager
def recording(
    columns: Tensor | Sequence[int] | None,
    last: int | None = 1,
    only: Collection[torch.nn.Module] | None = None,
    length: int | None = None,
) -> Iterator[Recorder]:
    """Collect the rows of the ``last`` queries in every tapped layer, or those of ``only``, that runs inside."""
    recorder = Recorder(None if columns is None else torch.as_tensor(columns, dtype=torch.long), last, only, length)
    with _recording_into(recorder):
        yield recorder


@contextmanager
def recording_each(recorders: Iterable[Recorder | None]) -> Iterator[None]:
    """Collect the rows of several sequences that are computed in one step, each by its own recorder; None = not
    recorded."""
    with _recording_into(tuple(recorders)):
        yield


@contextmanager
def whole() -> Iterator[Matrices]:
    """Collect every tapped layer's whole matrix, batch, heads, queries and keys: as slow and as large as eager."""
    matrices = Matrices()
    with _recording_into(matrices):
        yield matrices


@contextmanager
def _recording_into(recorder: Recorder | Matrices | PerSequence) -> Iterator[None]:
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)


def install(model: torch.nn.Module) -> None:
    """Switch a loaded part of a model, but not those with configs of their own in it, to the tapped attention; without
    a recorder it is plain SDPA."""
    _register()
    model.set_attn_implementation({"": NAME})


@contextmanager
def installed(layers: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Tap the attention in some layers for a while; afterwards they compute as before."""
    _register()
    found: Iterator[Any] = (getattr(module, "config", None) for layer in layers for module in layer.modules())
    configs = list({id(config): config for config in found if hasattr(config, "_attn_implementation")}.values())
    before = [(config, config._attn_implementation) for config in configs]
    try:
        for config in configs:
            config._attn_implementation = NAME
        yield
    finally:
        for config, name in before:
            config._attn_implementation = name


def _register() -> None:
    AttentionInterface.register(NAME, tapped_sdpa)
    # Without a mask of the same name transformers builds none, and the model silently runs unmasked.
    AttentionMaskInterface.register(NAME, sdpa_mask)


def tapped_sdpa(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor | tuple[Tensor, ...] | Padded,
    value: Tensor | tuple[Tensor, ...] | Padded,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers calls it with query [batch, heads, queries, d], key and value [batch, key heads, keys, d]; or, in a
    step of several sequences, with those of each, see ``runtime.batch_cache``."""
    recorder = _recorder.get()
    if isinstance(key, Padded):
        assert isinstance(value, Padded)
        each = recorder if isinstance(recorder, tuple) else (None,) * len(key.slots)
        return _attend_padded(module, query, key, value, each, kwargs.get("scaling")), None
    if isinstance(key, tuple):
        assert isinstance(value, tuple)
        each = recorder if isinstance(recorder, tuple) else (None,) * len(key)
        rows = zip(query.split(1), key, value, each, strict=True)
        return torch.cat([_attend(module, *row[:3], None, row[3], kwargs) for row in rows]), None
    assert isinstance(value, Tensor) and not isinstance(recorder, tuple)
    return _attend(module, query, key, value, attention_mask, recorder, kwargs), None


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    recorder: Recorder | Matrices | None,
    kwargs: dict[str, Any],
) -> Tensor:
    is_causal = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if isinstance(recorder, Matrices):
        weights = _weights(query, key, attention_mask, query.shape[2], kwargs.get("scaling"), causal)
        recorder.layers.append((module, weights))
        values = value.repeat_interleave(query.shape[1] // value.shape[1], 1)
        return (weights.to(value.dtype) @ values).transpose(1, 2).contiguous()
    recorded = recorder if recorder is not None and recorder.wants(module) else None
    plain = attention_mask is None and kwargs.get("position_bias") is None
    if query.shape[2] == 1 and query.device.type == "cpu" and plain:
        output, weights = _one_query(query, key, value, None, kwargs.get("scaling"))
        if recorded is not None:
            recorded.take(weights.transpose(0, 1).flatten(1, 2))
        return output
    if recorded is not None:
        last = query.shape[2] if recorded.last is None else recorded.last
        recorded.take(_last_rows(query, key, attention_mask, last, kwargs.get("scaling"), causal))
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)[0]


def _attend_padded(
    module: torch.nn.Module,
    query: Tensor,
    key: Padded,
    value: Padded,
    recorders: PerSequence,
    scaling: float | None,
) -> Tensor:
    """One query [rows, heads, 1, d] of each sequence: its output [rows, 1, heads, d]."""
    slots = query.new_zeros(len(key.states), *query.shape[1:]).index_copy(0, key.index, query)
    output, weights = _one_query(slots, key.states, value.states, key.mask, scaling)
    for recorder, slot, length in zip(recorders, key.slots, key.lengths, strict=True):
        if recorder is not None and recorder.wants(module):
            recorder.take(weights[slot, :, :, :length])
    return output[key.index]


def _one_query(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None
) -> tuple[Tensor, Tensor]:
    """Attention of one query: its output [batch, 1, heads, d], and its weights float32 [batch, heads, 1, keys], which
    are the ones that the output is made with.

    In float32, and heads that share a key head are multiplied with it together. On a CPU torch's SDPA is made for
    many queries: of one it takes three times as long (32 heads, 600 keys of 128, bf16), and tells no weights.
    """
    weights = _weights(query, key, mask, 1, scaling, causal=False)
    batch, heads, _, keys = weights.shape
    shared = weights.view(batch, key.shape[1], -1, keys)
    if query.dtype == torch.float32:
        output = shared @ value.float()
    else:  # rounded where SDPA rounds: the exponentials, before they are divided by their sum
        largest = shared.amax(-1, keepdim=True)
        output = (shared / largest).to(query.dtype).float() @ value.float() * largest
    return output.to(query.dtype).reshape(batch, 1, heads, -1), weights


def _last_rows(
    query: Tensor, key: Tensor, mask: Tensor | None, last: int, scaling: float | None, causal: bool = True
) -> Tensor:
    """Softmax weights [heads, batch × last, keys] of the last queries, in float32."""
    return _weights(query, key, mask, last, scaling, causal).transpose(0, 1).flatten(1, 2)


def _weights(query: Tensor, key: Tensor, mask: Tensor | None, last: int, scaling: float | None, causal: bool) -> Tensor:
    """The same as [batch, heads, last, keys]."""
    batch, heads, queries, width = query.shape
    keys = key.shape[2]
    wanted = query[:, :, queries - last :].float()
    # Grouped-query attention: several query heads share a key head, and meet it in one product.
    shared = wanted.reshape(batch, key.shape[1], heads // key.shape[1] * last, width)
    scores = shared @ key.float().transpose(-1, -2)
    scores = scores.reshape(batch, heads, last, keys) * (width**-0.5 if scaling is None else scaling)
    if mask is not None:
        mask_rows = mask[:, :, queries - last :, :keys]
        scores = (
            scores.masked_fill(~mask_rows, float("-inf"))
            if mask_rows.dtype == torch.bool
            else scores + mask_rows.float()
        )
    elif causal and last > 1:
        # SDPA is asked to be causal, so query i of the last sees all keys but the ones after it.
        at = torch.arange(keys, device=scores.device)
        scores = scores.masked_fill(at > at[keys - last :, None], float("-inf"))
    return scores.softmax(-1)
