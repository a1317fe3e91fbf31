"""KV cache: a language model's keys and values, and while an answer is written, room for the tokens to come.

A growing cache of transformers copies all keys and values at every token: in a 7B model with 2,880 image tokens that is
as much to move as a fifth of its weights.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64  # tokens


class PreallocatedLayer(DynamicLayer):
    """Writes single tokens after the others, and moves to a larger buffer only where there is no room. What is read in
    one piece gets none, since a prompt may be cached as it lies here.

    What it has returned, or was given, never changes: a position is written once, in order.

    Attributes:
        place: what the buffers are a part of, and which part; None where they are its own.
    """

    keys: torch.Tensor
    values: torch.Tensor
    _buffers: tuple[torch.Tensor, torch.Tensor] | None = None
    _written = 0
    place: tuple[Any, int] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values [batch, heads, tokens, d]; returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        stop = start + key_states.shape[-2]
        if not self._has_room(start, stop):
            self.place = None
            self._buffers = _grown(key_states, self.keys, start, stop), _grown(value_states, self.values, start, stop)
        assert self._buffers is not None
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., start:stop, :] = states
        self._hold(stop)
        return self.keys, self.values

    def move(self, keys: torch.Tensor, values: torch.Tensor, place: tuple[Any, int]) -> None:
        """Go on in these buffers [batch, heads, tokens, d], to whose beginnings what the layer holds is copied; they
        are ``place``."""
        length = self.get_seq_length()
        keys[..., :length, :], values[..., :length, :] = self.keys, self.values
        self._buffers, self.place = (keys, values), place
        self._hold(length)

    def continues(self) -> bool:
        """Whether the next token has its place in the buffers, after the others."""
        length = self.get_seq_length()
        return self._has_room(length, length + 1)

    def wrote_next(self) -> None:
        """The next token was written into the buffers by someone else."""
        self._hold(self._written + 1)

    def _hold(self, length: int) -> None:
        assert self._buffers is not None
        self._written = length
        self.keys, self.values = (buffer[..., :length, :] for buffer in self._buffers)

    def _has_room(self, start: int, stop: int) -> bool:
        """Whether all before ``start`` lies in these buffers, and nothing has been written after it."""
        if self._buffers is None or self._written != start or stop > self._buffers[0].shape[-2]:
            return False
        return start == 0 or self.keys.data_ptr() == self._buffers[0].data_ptr()


def _grown(states: torch.Tensor, existing: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    """A larger buffer with the existing states at its beginning."""
    length = stop + ROOM if states.shape[-2] == 1 else stop
    buffer = states.new_empty(*states.shape[:-2], length, states.shape[-1])
    if start:
        buffer[..., :start, :] = existing
    return buffer


def empty(config: Any) -> DynamicCache:
    """An empty cache for the language model of this config; sliding windows and states are as transformers has them."""
    cache = DynamicCache(config=config)
    cache.layers = [PreallocatedLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
