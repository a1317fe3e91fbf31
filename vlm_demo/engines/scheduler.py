"""Scheduler: who computes with a model, and when; and who uses it at all, so that it may not be exchanged.

A `Scheduler` belongs to an engine and is the one place that decides whose turn it is, and who may have one together. A
`ModelUse` belongs to what holds the engine: any number of jobs use the model at a time, with or without a turn, and an
exchange of the model waits for all of them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, takewhile

from vlm_demo.errors import Stopped, VlmDemoError

BATCH = 8  # answers in one batch by default
SHUTTING_DOWN = "This server is ending: ask again in a minute."
POLL = 0.1  # seconds between two checks whether a waiting job was cancelled

Cancelled = Callable[[], bool]


@dataclass(frozen=True, eq=False)
class _Ticket:
    shared: bool


class Scheduler:
    """Hands out turns with one model, first come, first served: one at a time, or up to ``most`` that are ``shared``
    together."""

    def __init__(self, most: int = 1) -> None:
        self.most = most
        self._changed = threading.Condition()
        self._queue: deque[_Ticket] = deque()  # the first ones, as many as may run together, have their turn

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        with self._changed:
            return sum(not self._has_turn(ticket) for ticket in self._queue)

    @contextmanager
    def turn(self, cancelled: Cancelled | None = None, shared: bool = False) -> Iterator[None]:
        """Wait for a turn, and have it until the block ends.

        Args:
            cancelled: polled while waiting.
            shared: whether others that are shared may have theirs meanwhile.
        Raises:
            Stopped: ``cancelled()`` turned True while waiting.
        """
        ticket = _Ticket(shared)
        with self._changed:
            self._queue.append(ticket)
        try:
            with self._changed:
                while not self._has_turn(ticket):
                    wait_for_change(self._changed, cancelled)
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _has_turn(self, ticket: _Ticket) -> bool:
        first_shared = list(islice(takewhile(lambda queued: queued.shared, self._queue), self.most))
        return self._queue[0] is ticket or ticket in first_shared


class ModelUse:
    """A readers-writer lock: any number of jobs use a model, or one replaces it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users = 0
        self._exchanging = False
        self._closed = False

    @contextmanager
    def use(self, cancelled: Cancelled | None = None) -> Iterator[None]:
        """Use the model until the block ends; wait while it is being exchanged.

        Raises:
            Stopped: ``cancelled()`` turned True while waiting.
            VlmDemoError: the server is shutting down.
        """
        with self._changed:
            while self._exchanging and not self._closed:
                wait_for_change(self._changed, cancelled)
            if self._closed:
                raise VlmDemoError(SHUTTING_DOWN)
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """Block new users, wait for current ones, and have the model exclusively until the block ends."""
        release = self.reserve()
        try:
            with self._changed:
                while self._users:
                    self._changed.wait()
            yield
        finally:
            release()

    def close(self, seconds: float) -> int:
        """Refuse new users for good, and wait for current ones, ``seconds`` at most; returns how many are left then."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while self._users and (remaining := deadline - time.monotonic()) > 0:
                self._changed.wait(remaining)
            return self._users

    def reserve(self) -> Callable[[], None]:
        """Block new users on behalf of a thread that is started later; returns the function that unblocks them."""
        with self._changed:
            while self._exchanging:
                self._changed.wait()
            self._exchanging = True

        def release() -> None:
            with self._changed:
                self._exchanging = False
                self._changed.notify_all()

        return release


def wait_for_change(changed: threading.Condition, cancelled: Cancelled | None) -> None:
    """Wait until ``changed`` is notified, or for so short a time that ``cancelled`` is polled.

    Raises:
        Stopped: ``cancelled()`` is True.
    """
    if cancelled and cancelled():
        raise Stopped("Stopped before it began.")
    changed.wait(POLL if cancelled else None)
