"""Cancellation: one computation at a time on a model, stoppable between its layers.

Knows neither what is computed nor who asks; works from any thread, and holds nothing between two computations.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from vlm_demo.errors import Stopped
from vlm_demo.runtime.compute_thread import ComputeThread

T = TypeVar("T")
Cancelled = Callable[[], bool]
POLL_SECONDS = 0.05
SHARE = 0.5  # of the time of an urgent computation, for which a long one works on before it gives way again
MOST_SHARES = 4  # where several long ones wait, each adds a share, up to so many


@dataclass(eq=False)
class _Urgent:
    """A short computation that may go between two layers of a long one.

    Attributes:
        compute: what is computed.
        cancelled: asked before every watched layer.
        context: of the thread that wants it, in which it is computed.
        outcome: what came of it.
    """

    compute: Callable[[], Any]
    cancelled: Cancelled | None
    context: Context = field(default_factory=copy_context)
    outcome: Future[Any] = field(default_factory=Future)


class CancellationHooks:
    """Serialises the use of one model and checks for cancellation in its layers.

    Computations run first come, first served. A long one may give way, though: between two of its layers
    it computes a short urgent one, and works for ``SHARE`` of what the last one of these took before it does so
    again; for a multiple of that where other long ones wait behind it, so that many prompts that are to be read don't
    wait for one answer's steps.

    Args:
        own_thread: whether all of it is computed in one thread, whoever asks; see ``compute_thread``.
    """

    def __init__(self, device: torch.device, own_thread: bool = False) -> None:
        self.device = device
        self._in_thread: Callable[[Callable[[], Any]], Any] = ComputeThread() if own_thread else _here
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()  # the first one computes
        self._urgent: deque[_Urgent] = deque()  # those of the queue that have not begun
        self._urgent_took = self._resumed = 0.0  # seconds of the last urgent one; since when the first one computes
        # Of a thread and not of the model: a stage that someone calls alone must not be stopped by another's button.
        self._current = threading.local()

    def watch(self, layers: Iterable[torch.nn.Module]) -> None:
        """Check for cancellation before each of these layers, in every later computation."""
        for layer in layers:
            layer.register_forward_pre_hook(self._before_layer)

    def run(self, compute: Callable[[], T], cancelled: Cancelled | None = None, *, gives_way: bool = False) -> T:
        """Hold the model for one computation without gradients.

        Args:
            cancelled: asked before, while waiting, and before every watched layer.
            gives_way: whether urgent ones may go between its layers; nothing that sees or changes other computations,
                such as a hook, may be in force meanwhile.
        Raises:
            Stopped: ``cancelled()`` is True before, while waiting, or between two layers.
            Exception: what ``compute`` raises.
        """
        cancelled = cancelled or getattr(self._current, "outer", None)
        check(cancelled)
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
        try:
            with self._changed:
                while self._queue[0] is not ticket:
                    self._wait(cancelled)
                self._resumed = time.perf_counter()
            return self._in_thread(lambda: self._watched(compute, cancelled, gives_way))
        finally:
            self._leave(ticket)

    def urgently(self, compute: Callable[[], T], cancelled: Cancelled | None = None) -> T:
        """Compute something short as soon as the model is free, or a long computation that gives way comes to its next
        layer. That one's thread computes it then (see ``compute_thread`` for what two threads in turn cost).

        Args:
            cancelled: as in ``run``.
        Raises:
            Stopped: likewise.
            Exception: what ``compute`` raises.
        """
        cancelled = cancelled or getattr(self._current, "outer", None)
        check(cancelled)
        one = _Urgent(compute, cancelled)
        with self._changed:
            self._queue.append(one)
            self._urgent.append(one)
        try:
            with self._changed:
                while self._queue[0] is not one and one in self._urgent:
                    self._wait(cancelled)
                if mine := one in self._urgent:
                    self._urgent.remove(one)
            if mine:
                self._in_thread(lambda: self._compute(one))
            return one.outcome.result()
        finally:
            self._leave(one)

    def _compute(self, one: _Urgent) -> None:
        began = time.perf_counter()
        try:
            one.outcome.set_result(one.context.run(self._watched, one.compute, one.cancelled, gives_way=False))
        except BaseException as error:
            one.outcome.set_exception(error)
        self._urgent_took = time.perf_counter() - began

    def _give_way(self) -> None:
        """Compute the urgent one that has waited longest, if one waits."""
        with self._changed:
            one = self._urgent.popleft() if self._urgent else None
            self._changed.notify_all()  # who waits for it can't be stopped any more until it is computed
        if one is not None:
            self._compute(one)
        self._resumed = time.perf_counter()

    def _watched(self, compute: Callable[[], T], cancelled: Cancelled | None, gives_way: bool) -> T:
        """Compute in this thread, without gradients; its watched layers ask ``cancelled``."""
        current = self._current
        before = getattr(current, "cancelled", None), getattr(current, "gives_way", False)
        current.cancelled, current.gives_way = cancelled, gives_way
        try:
            with torch.no_grad():
                result = compute()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            return result
        finally:
            current.cancelled, current.gives_way = before

    def _wait(self, cancelled: Cancelled | None) -> None:
        self._changed.wait(POLL_SECONDS if cancelled else None)
        check(cancelled)

    def _leave(self, ticket: object) -> None:
        with self._changed:
            self._queue.remove(ticket)
            if isinstance(ticket, _Urgent) and ticket in self._urgent:
                self._urgent.remove(ticket)
            self._changed.notify_all()

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
        return max(1, min(len(self._queue) - len(self._urgent), MOST_SHARES))


def check(cancelled: Cancelled | None) -> None:
    """Raise ``Stopped`` if the person wants to stop."""
    if cancelled is not None and cancelled():
        raise Stopped("Stopped before the first word: ask again when you like.")


def _here(compute: Callable[[], T]) -> T:
    """Compute in the calling thread."""
    return compute()
