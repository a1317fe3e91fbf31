"""Guard: one computation at a time on a model, stoppable between its layers.

Knows neither what is computed nor who asks; works from any thread, and holds nothing between two computations.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch

from vlm_demo.errors import Stopped

Cancelled = Callable[[], bool]
POLL_SECONDS = 0.05


class CancellationHooks:
    """Serialises the use of one model and carries the question "stop?" into its layers."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._lock = threading.Lock()
        # Of a thread and not of the model: a stage that someone calls alone must not be stopped by another's button.
        self._current = threading.local()

    def watch(self, layers: Iterable[torch.nn.Module]) -> None:
        """Ask "stop?" before each of these layers, in every later computation."""
        for layer in layers:
            layer.register_forward_pre_hook(self._before_layer)

    @contextmanager
    def computing(self, cancelled: Cancelled | None = None) -> Iterator[None]:
        """Hold the model for one computation without gradients.

        Never keep this open over a ``yield`` of a generator: the gradient mode would leak into whoever iterates.

        Raises:
            Stopped: ``cancelled()`` is True before, while waiting, or between two layers.
        """
        cancelled = cancelled or getattr(self._current, "outer", None)
        check(cancelled)
        while not self._lock.acquire(timeout=POLL_SECONDS if cancelled else -1):
            check(cancelled)
        try:
            self._current.cancelled = cancelled
            with torch.no_grad():
                yield
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        finally:
            self._current.cancelled = None
            self._lock.release()

    @contextmanager
    def stoppable(self, cancelled: Cancelled | None) -> Iterator[None]:
        """What this thread computes inside, with no question of its own, is stopped when ``cancelled()`` is True."""
        self._current.outer = cancelled
        try:
            yield
        finally:
            self._current.outer = None

    def _before_layer(self, *_: object) -> None:
        check(getattr(self._current, "cancelled", None))


def check(cancelled: Cancelled | None) -> None:
    """Raise ``Stopped`` if the person wants to stop."""
    if cancelled is not None and cancelled():
        raise Stopped("Stopped before the first word: ask again when you like.")
