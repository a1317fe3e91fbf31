"""Stage clock: the seconds of each stage of one answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from vlm_demo.contracts import StageEvent
from vlm_demo.contracts.events import StageFacts


class StageClock:
    """The seconds of each stage. ``pause`` leaves out the time in which somebody looks at an event."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def done(self, name: str, seconds: float, facts: StageFacts | None = None) -> StageEvent:
        """A stage took ``seconds``."""
        self.seconds[name] = seconds
        return StageEvent(name, seconds, facts)

    def since(self, name: str, began: float, facts: StageFacts | None = None) -> StageEvent:
        """A stage has worked since ``began`` until now."""
        return self.done(name, time.perf_counter() - began, facts)

    def pause(self, seconds: float) -> None:
        """Leave so many seconds out of the total."""
        self.started += seconds

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Leave what passes inside out of the total."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.pause(time.perf_counter() - began)

    @property
    def total(self) -> float:
        """Seconds since the start, without pauses."""
        return time.perf_counter() - self.started
