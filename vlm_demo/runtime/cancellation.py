"""Cancellation: one computation at a time on a model, stoppable between its layers.

Knows neither what is computed nor who asks; works from any thread, and holds nothing between two computations.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch

from vlm_demo.errors import Stopped

Cancelled = Callable[[], bool]
POLL_SECONDS = 0.05
SHARE = 0.5  # of the time of an urgent computation, for which a long one works on before it gives way again
MOST_SHARES = 4  # where several long ones wait, each adds a share, up to so many


class CancellationHooks:
    """Serialises the use of one model and checks for cancellation in its layers.

    Computations run first come, first served. A long one may give way, though: between two of its layers
    it lets short urgent ones go first, and works for ``SHARE`` of what the last one of these took before it does so
    again; for a multiple of that where other long ones wait behind it, so that many prompts that are to be read don't
    wait for one answer's steps.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()  # the first one computes
        self._urgent = 0  # of those that wait, how many may go first
        self._offered = self._lent = False  # the first one waits between two layers for an urgent one to go, to end
        self._urgent_took = self._resumed = 0.0  # seconds of the last urgent one; since when the first one computes
        # Of a thread and not of the model: a stage that someone calls alone must not be stopped by another's button.
        self._current = threading.local()

    def watch(self, layers: Iterable[torch.nn.Module]) -> None:
        """Check for cancellation before each of these layers, in every later computation."""
        for layer in layers:
            layer.register_forward_pre_hook(self._before_layer)

    @contextmanager
    def computing(
        self, cancelled: Cancelled | None = None, *, urgent: bool = False, gives_way: bool = False
    ) -> Iterator[None]:
        """Hold the model for one computation without gradients.

        Never keep this open over a ``yield`` of a generator: the gradient mode would leak into the consumer.

        Args:
            cancelled: asked before, while waiting, and before every watched layer.
            urgent: whether it may go between two layers of one that gives way.
            gives_way: whether urgent ones may go between its layers; nothing that sees or changes other computations,
                such as a hook, may be in force meanwhile.
        Raises:
            Stopped: ``cancelled()`` is True before, while waiting, or between two layers.
        """
        cancelled = cancelled or getattr(self._current, "outer", None)
        check(cancelled)
        ticket = object()
        with self._holding(ticket, cancelled, urgent):
            began = time.perf_counter()
            self._current.cancelled, self._current.gives_way = cancelled, gives_way
            try:
                with torch.no_grad():
                    yield
                if self.device.type == "cuda":
                    torch.cuda.synchronize(self.device)
            finally:
                self._current.cancelled, self._current.gives_way = None, False
                if urgent:
                    self._urgent_took = time.perf_counter() - began

    @contextmanager
    def _holding(self, ticket: object, cancelled: Cancelled | None, urgent: bool) -> Iterator[None]:
        with self._changed:
            self._queue.append(ticket)
            self._urgent += urgent
        borrowed = False
        try:
            with self._changed:
                try:
                    while self._queue[0] is not ticket and not (urgent and self._offered):
                        self._changed.wait(POLL_SECONDS if cancelled else None)
                        check(cancelled)
                    if self._queue[0] is not ticket:
                        borrowed, self._offered, self._lent = True, False, True
                finally:
                    self._urgent -= urgent
                    self._changed.notify_all()
                if not borrowed:
                    self._resumed = time.perf_counter()
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._lent = self._lent and not borrowed
                self._changed.notify_all()

    def _give_way(self) -> None:
        """Let one urgent computation go, if one waits, and go on when it is over."""
        with self._changed:
            self._offered = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._lent and not (self._offered and self._urgent))
            self._offered = False
            self._resumed = time.perf_counter()

    @contextmanager
    def stoppable(self, cancelled: Cancelled | None) -> Iterator[None]:
        """Computations of this thread inside that pass no ``cancelled`` are stopped when ``cancelled()`` is True."""
        self._current.outer = cancelled
        try:
            yield
        finally:
            self._current.outer = None

    def _before_layer(self, *_: object) -> None:
        check(getattr(self._current, "cancelled", None))
        awaited = self._urgent and getattr(self._current, "gives_way", False)
        if awaited and time.perf_counter() - self._resumed >= SHARE * self._shares() * self._urgent_took:
            self._give_way()

    def _shares(self) -> int:
        """How many long computations there are, the one that computes included, up to ``MOST_SHARES``."""
        return max(1, min(len(self._queue) - self._urgent, MOST_SHARES))


def check(cancelled: Cancelled | None) -> None:
    """Raise ``Stopped`` if the person wants to stop."""
    if cancelled is not None and cancelled():
        raise Stopped("Stopped before the first word: ask again when you like.")
