"""Scheduler: who computes with the model, and when. One job at a time; the others wait for their turn.

The one owner of the model's lock, so that computing several requests together is a change of this file. What does not
compute with the model may one day run outside a turn. Reading text (OCR) is still a step inside the pipeline's stream,
and a switch of the model counts on it that nobody streams: to let it out, a turn has to be given back between two
steps, and the model held against a switch meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vlm_demo.errors import Stopped

POLL = 0.1  # seconds between two looks at whether a waiting job is still wanted


class Scheduler:
    """Hands out turns with the model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Wait for a turn, and have it until the block ends.

        Raises:
            Stopped: ``cancelled()`` turned True while waiting.
        """
        while not self._lock.acquire(timeout=POLL):
            if cancelled():
                raise Stopped("Stopped before it began.")
        try:
            yield
        finally:
            self._lock.release()

    def reserve(self) -> Callable[[], None]:
        """Take the first turn, for a thread that is still to be started; returns what gives it back."""
        self._lock.acquire()
        return self._lock.release
