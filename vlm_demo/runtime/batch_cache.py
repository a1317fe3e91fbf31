"""Batch cache: the caches of several answers, written to in one pass of a language model.

    linear layers    [rows, 1, d]          the weights are read once for all rows
    attention        row by row            each over its own keys, as long as they are

No row is padded or moved: each keeps the cache that it has when it is computed alone, so rows of any length join and
leave at any step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from vlm_demo.runtime.kv_cache import PreallocatedLayer

RowTensors = tuple[torch.Tensor, ...]  # of each row [1, heads, tokens, d]


def can_be_joined(cache: DynamicCache) -> bool:
    """Whether every layer holds all tokens before: a sliding window, or a state, is none that a step can be cut off
    from again."""
    return all(type(layer) is PreallocatedLayer for layer in cache.layers)


class BatchLayer(DynamicLayer):
    """One layer of several caches."""

    def __init__(self, rows: Sequence[PreallocatedLayer]) -> None:
        super().__init__()
        self.rows = rows

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[RowTensors, RowTensors]:
        """Append one token to each row, of keys and values [rows, heads, 1, d].

        Returns:
            All keys and all values of each row; ``attention_tap.tapped_sdpa`` takes them so.
        """
        updated = [row.update(key_states[i : i + 1], value_states[i : i + 1]) for i, row in enumerate(self.rows)]
        return tuple(keys for keys, _ in updated), tuple(values for _, values in updated)

    def get_seq_length(self) -> int:
        """Of the longest row."""
        return max(row.get_seq_length() for row in self.rows)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """As of one row: a token sees all before it, so a step of single tokens has no mask."""
        return self.get_seq_length() + query_length, 0


def joined(caches: Sequence[DynamicCache]) -> Cache:
    """One cache that writes into all of these."""
    return Cache(layers=[BatchLayer(rows) for rows in zip(*(cache.layers for cache in caches), strict=True)])


def cut_back(cache: DynamicCache, length: int) -> None:
    """Take away what a step that failed has left behind the first ``length`` tokens."""
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]


def token_bytes(cache: DynamicCache) -> int:
    """What one token's keys and values take."""
    layers = [layer for layer in cache.layers if isinstance(layer, DynamicLayer)]
    total = sum(layer.keys.nbytes + layer.values.nbytes for layer in layers if layer.is_initialized)
    return total // max(1, cache.get_seq_length())
