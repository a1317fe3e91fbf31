"""Places: how many files are decoded at a time; the others wait, and may be cancelled meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vlm_demo.errors import Stopped

POLL = 0.1  # seconds between two checks whether who waits was cancelled


@contextmanager
def one_of(places: threading.Semaphore, cancelled: Callable[[], bool] | None = None) -> Iterator[None]:
    """Wait for a place, and have it until the block ends.

    Args:
        cancelled: polled while waiting.
    Raises:
        Stopped: ``cancelled()`` turned True while waiting.
    """
    while not places.acquire(timeout=POLL if cancelled else None):
        if cancelled and cancelled():
            raise Stopped("Stopped before it began.")
    try:
        yield
    finally:
        places.release()
