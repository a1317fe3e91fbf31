"""Batch cache: the caches of several answers, written to in one pass of a language model.

    linear layers    [rows, 1, d]              the weights are read once for all rows
    attention        [slots, heads, 1, keys]   short caches lie in one tensor a layer, padded at their ends
                     row by row                long ones, or of very different lengths

Each row keeps the cache that it has when it is computed alone, so rows of any length join and leave at any step: where
they are stacked, its buffers are its slot of the tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from vlm_demo.runtime.kv_cache import ROOM, PreallocatedLayer

MOST_STACKED = 128 * 2**20  # bytes of a stack, which is copied when a row joins
MOST_PADDED = 2  # times as many tokens as the rows have room for

RowTensors = tuple[Tensor, ...]  # of each row [1, heads, tokens, d]


@dataclass(frozen=True)
class Padded:
    """Keys or values of several rows in one tensor.

    Attributes:
        states: float32 [slots, heads, tokens, d], finite everywhere.
        slots: which slot each row has.
        index: int64 [rows], the same.
        lengths: how many tokens of each row's slot are its own.
        mask: float32 [slots, 1, 1, tokens], added to attention scores: 0, or −inf behind a slot's own tokens.
    """

    states: Tensor
    slots: Sequence[int]
    index: Tensor
    lengths: Sequence[int]
    mask: Tensor


def can_be_joined(cache: DynamicCache) -> bool:
    """Whether every layer holds all tokens before: a sliding window, or a state, is none that a step can be cut off
    from again."""
    return all(type(layer) is PreallocatedLayer for layer in cache.layers)


@dataclass(frozen=True)
class _Step:
    """One token of each of several rows of a stack.

    Attributes:
        slots, index, lengths, mask: as of ``Padded``, with the token to come.
        last: int64 [rows], where it is written.
    """

    slots: Sequence[int]
    index: Tensor
    lengths: Sequence[int]
    mask: Tensor
    last: Tensor

    def write(self, states: Tensor, new: Tensor, scratch: Tensor | None) -> Padded:
        """Write keys or values [rows, heads, 1, d] into those of a layer of the stack.

        Args:
            scratch: float32, as large as ``states``, which it holds until the next layer is written; None where these
                are float32 themselves.
        """
        states[self.index, :, self.last] = new[:, :, 0]
        own = states[:, :, : self.mask.shape[-1]]
        own = own if scratch is None else scratch[:, :, : own.shape[2]].copy_(own)
        return Padded(own, self.slots, self.index, self.lengths, self.mask)


class BatchLayer(DynamicLayer):
    """One layer of several caches.

    Args:
        rows: of each cache.
        stacked: where they lie in one tensor, keys and values of all slots, each with a scratch, and the step.
    """

    def __init__(
        self,
        rows: Sequence[PreallocatedLayer],
        stacked: tuple[Sequence[tuple[Tensor, Tensor | None]], _Step] | None = None,
    ) -> None:
        super().__init__()
        self.rows, self.stacked = rows, stacked

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[RowTensors, RowTensors] | tuple[Padded, Padded]:
        """Append one token to each row, of keys and values [rows, heads, 1, d].

        Returns:
            All keys and all values of each row; ``attention_tap.tapped_sdpa`` takes them so.
        """
        if self.stacked is None:
            updated = [row.update(key_states[i : i + 1], value_states[i : i + 1]) for i, row in enumerate(self.rows)]
            return tuple(keys for keys, _ in updated), tuple(values for _, values in updated)
        ((keys, key_scratch), (values, value_scratch)), step = self.stacked
        padded = step.write(keys, key_states, key_scratch), step.write(values, value_states, value_scratch)
        for row in self.rows:
            row.wrote_next()
        return padded

    def get_seq_length(self) -> int:
        """Of the longest row."""
        return max(row.get_seq_length() for row in self.rows)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """As of one row: a token sees all before it, so a step of single tokens has no mask."""
        return self.get_seq_length() + query_length, 0


class Stack:
    """The caches of several answers in one tensor a layer; each goes on in its slot, alone or with others.

    Attributes:
        layers: keys and values [slots, heads, tokens, d] of each layer, all of one shape.
        scratch: float32, as large as the keys and the values of one layer; None where those are float32.
    """

    def __init__(self, caches: Sequence[DynamicCache]) -> None:
        capacity = max(cache.get_seq_length() for cache in caches) + ROOM
        self.layers: list[tuple[Tensor, Tensor]] = []
        for rows in zip(*(cache.layers for cache in caches), strict=True):
            # Zeros, since what lies behind a row's own tokens is multiplied by weights of 0.
            keys, values = (
                states.new_zeros(len(caches), states.shape[1], capacity, states.shape[3])
                for states in (rows[0].keys, rows[0].values)
            )
            for slot, row in enumerate(rows):
                row.move(keys[slot : slot + 1], values[slot : slot + 1], (self, slot))
            self.layers.append((keys, values))
        self.scratch = [None if states.dtype == torch.float32 else states.float() for states in self.layers[0]]

    def step(self, caches: Sequence[DynamicCache]) -> Cache:
        """One cache that writes into all of these, which lie here."""
        slots = [cache.layers[0].place[1] for cache in caches]
        lengths = [cache.get_seq_length() + 1 for cache in caches]
        all_keys, _ = self.layers[0]
        index, after = torch.tensor([slots, lengths], device=all_keys.device)
        own = torch.ones(len(all_keys), dtype=torch.long, device=all_keys.device).index_copy(0, index, after)
        hidden = torch.arange(max(lengths), device=all_keys.device) >= own[:, None]
        mask = torch.zeros(hidden.shape, device=all_keys.device).masked_fill(hidden, -torch.inf)[:, None, None]
        step = _Step(slots, index, lengths, mask, after - 1)
        rows = zip(*(cache.layers for cache in caches), strict=True)
        with_scratch = [list(zip(layer, self.scratch, strict=True)) for layer in self.layers]
        return Cache(layers=[BatchLayer(row, (layer, step)) for row, layer in zip(rows, with_scratch, strict=True)])


def joined(caches: Sequence[DynamicCache]) -> Cache:
    """One cache that writes into all of these."""
    stack = _stack_of(caches) or (Stack(caches) if _can_be_stacked(caches) else None)
    if stack is not None:
        return stack.step(caches)
    return Cache(layers=[BatchLayer(rows) for rows in zip(*(cache.layers for cache in caches), strict=True)])


def _can_be_stacked(caches: Sequence[DynamicCache]) -> bool:
    lengths = [cache.get_seq_length() + ROOM for cache in caches]
    padded = len(lengths) * max(lengths)
    shapes = {(layer.keys[..., :1, :].shape, layer.values[..., :1, :].shape) for layer in caches[0].layers}
    return len(shapes) == 1 and padded <= MOST_PADDED * sum(lengths) and padded * token_bytes(caches[0]) <= MOST_STACKED


def _stack_of(caches: Sequence[DynamicCache]) -> Stack | None:
    """The stack that all of them lie in with room for a token, if there is one."""
    layers = [layer for cache in caches for layer in cache.layers]
    stacks = {layer.place[0] if layer.place and layer.continues() else None for layer in layers}
    return stacks.pop() if len(stacks) == 1 else None


def cut_back(cache: DynamicCache, length: int) -> None:
    """Take away what a step that failed has left behind the first ``length`` tokens."""
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]


def token_bytes(cache: DynamicCache) -> int:
    """What one token's keys and values take."""
    layers = [layer for layer in cache.layers if isinstance(layer, DynamicLayer)]
    total = sum(layer.keys.nbytes + layer.values.nbytes for layer in layers if layer.is_initialized)
    return total // max(1, cache.get_seq_length())
