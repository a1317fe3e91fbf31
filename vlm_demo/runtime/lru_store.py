"""LRU store: what was computed, by the content that it was computed from, within a budget of bytes.

Knows neither sessions nor chats: the same picture is not encoded again, and nobody can list what is
stored. Keys hold the visitor whom a value was computed for, so that no visitor finds another one's values.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

import torch

Kind = TypeVar("Kind")

LEAST_BUDGET = 2**28  # 256 MiB
SHARE = 4  # a model's cache may take a quarter of the model's bytes


class LruStore:
    """Holds values up to ``budget`` bytes; the least recently used are evicted first. A budget of 0 holds nothing."""

    def __init__(self, budget: int) -> None:
        self._budget, self._bytes = budget, 0
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """How many bytes are held now."""
        return self._bytes

    @property
    def budget(self) -> int:
        """How many bytes may be held; setting a smaller budget evicts at once."""
        return self._budget

    @budget.setter
    def budget(self, budget: int) -> None:
        with self._lock:
            self._budget = budget
            self._evict(budget)

    def get(self, key: Hashable) -> Any | None:
        """What is held under ``key``, now the most recently used, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Hold ``value`` of ``size`` bytes in place of what was there; one larger than the budget is not held."""
        with self._lock:
            self._drop(key)
            if size <= self._budget:
                self._evict(self._budget - size)
                self._entries[key] = (value, size)
                self._bytes += size

    def drop(self, key: Hashable) -> None:
        """Remove one value."""
        with self._lock:
            self._drop(key)

    def of(self, kind: type[Kind]) -> list[Kind]:
        """All values of one class, the least recently used first."""
        with self._lock:
            return [value for value, _ in self._entries.values() if isinstance(value, kind)]

    def drop_where(self, matches: Callable[[Hashable], bool]) -> None:
        """Remove all values whose key ``matches``."""
        with self._lock:
            for key in [key for key in self._entries if matches(key)]:
                self._drop(key)

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._evict(0)

    def _drop(self, key: Hashable) -> None:
        _, size = self._entries.pop(key, (None, 0))
        self._bytes -= size

    def _evict(self, most: int) -> None:
        while self._entries and self._bytes > most:
            self._drop(next(iter(self._entries)))


def budget_for(parameter_bytes: int) -> int:
    """The default budget in bytes for a model of this size."""
    return max(LEAST_BUDGET, parameter_bytes // SHARE)


def size_of(tensors: Iterable[torch.Tensor | None]) -> int:
    """The bytes that they keep from being freed: all of the storage that each is a part of, once."""
    storages = (tensor.untyped_storage() for tensor in tensors if tensor is not None)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
