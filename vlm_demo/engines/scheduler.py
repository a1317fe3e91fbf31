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

BATCH = 8  # answers that are written together, where nobody says how many
ENDING = "This server is ending: ask again in a minute."
POLL = 0.1  # seconds between two looks at whether a waiting job is still wanted

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
        self._queue: deque[_Ticket] = deque()  # the first ones, as many as go together, have their turn

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        with self._changed:
            return sum(not self._may_go(ticket) for ticket in self._queue)

    @contextmanager
    def turn(self, cancelled: Cancelled | None = None, shared: bool = False) -> Iterator[None]:
        """Wait for a turn, and have it until the block ends.

        Args:
            cancelled: asked while waiting.
            shared: whether others that are shared may have theirs meanwhile.
        Raises:
            Stopped: ``cancelled()`` turned True while waiting.
        """
        ticket = _Ticket(shared)
        with self._changed:
            self._queue.append(ticket)
        try:
            with self._changed:
                while not self._may_go(ticket):
                    _wait(self._changed, cancelled)
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _may_go(self, ticket: _Ticket) -> bool:
        together = list(islice(takewhile(lambda queued: queued.shared, self._queue), self.most))
        return self._queue[0] is ticket or ticket in together


class ModelUse:
    """Any number of jobs use a model, or one exchanges it."""

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
            VlmDemoError: nobody may begin any more.
        """
        with self._changed:
            while self._exchanging and not self._closed:
                _wait(self._changed, cancelled)
            if self._closed:
                raise VlmDemoError(ENDING)
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """Let nobody begin to use the model, wait for those who do, and have it alone until the block ends."""
        release = self.reserve()
        try:
            with self._changed:
                while self._users:
                    self._changed.wait()
            yield
        finally:
            release()

    def close(self, seconds: float) -> int:
        """Let nobody begin to use the model any more, and wait for those who do, so many seconds at most; returns how
        many still do then."""
        until = time.monotonic() + seconds
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while self._users and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._users

    def reserve(self) -> Callable[[], None]:
        """Let nobody begin to use the model, for a thread that is still to be started; returns what ends that."""
        with self._changed:
            while self._exchanging:
                self._changed.wait()
            self._exchanging = True

        def release() -> None:
            with self._changed:
                self._exchanging = False
                self._changed.notify_all()

        return release


def _wait(changed: threading.Condition, cancelled: Cancelled | None) -> None:
    if cancelled and cancelled():
        raise Stopped("Stopped before it began.")
    changed.wait(POLL if cancelled else None)
