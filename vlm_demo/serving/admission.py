"""Admission: how many requests may be answered or wait at a time, and after how long a rejected one may retry."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from vlm_demo.api.problems import Refused

ENDS_KEPT = 32  # latest ends of answers, from which the pace is estimated
SOONEST, LATEST = 1, 60  # seconds of Retry-After
FULL = "All places are taken, {} requests are answered or wait: try again in {} s."
ENDING = "This server is ending, and answers only what it has begun: ask again in {} s."


class Full(Refused):
    """A request that was rejected; it may be retried after ``seconds``."""

    def __init__(self, sentence: str, seconds: int) -> None:
        super().__init__(sentence, 503, "overloaded")
        self.seconds = seconds


class Admission:
    """The places (request slots) of one front.

    Attributes:
        places: how many requests may be answered or wait.
        open: how many are.
    """

    def __init__(self, places: int, clock: Callable[[], float] = monotonic) -> None:
        self.places, self.open = places, 0
        self.closed = False
        self._clock = clock
        self._ends: deque[float] = deque(maxlen=ENDS_KEPT)
        self._lock = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place, for as long as the block lasts.

        Raises:
            Full: there is none, or the server is ending.
        """
        with self._lock:
            if self.closed:
                raise Full(ENDING.format(LATEST), LATEST)
            if self.open >= self.places:
                raise self.full()
            self.open += 1
        try:
            yield
        finally:
            with self._lock:
                self.open -= 1
                self._ends.append(self._clock())

    def full(self) -> Full:
        """The error where no place is left."""
        seconds = self.seconds()
        return Full(FULL.format(self.open, seconds), seconds)

    def seconds(self) -> int:
        """After how long a place is likely to be free: the mean time between the ends of recent answers, in whole
        seconds from SOONEST to LATEST."""
        if len(self._ends) < 2:
            return SOONEST
        spent = self._clock() - self._ends[0]
        return min(max(math.ceil(spent / (len(self._ends) - 1)), SOONEST), LATEST)

    def close(self) -> None:
        """Admit no more requests; those that have a place keep it."""
        self.closed = True
