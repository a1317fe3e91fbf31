"""Side engines: models loaded next to the shared one, when a tab first asks for them.

A comparison needs a second model, a contrast one that scores; the shared one goes on answering meanwhile. At most
`KEPT` of them stay in memory: the least recently used one is dropped first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vlm_demo.contracts.engine import Engine
from vlm_demo.errors import Stopped

Progress = Callable[[float | None, str], None]  # the done part, 0..1 or not known, and a sentence
Load = Callable[[str, str, Progress], Engine]  # a model and a precision → the engine

KEPT = 2
POLL = 0.1  # seconds between two checks whether a waiting job was cancelled


class SideEngines:
    """Loaded engines by model and precision."""

    def __init__(self, load: Load, kept: int = KEPT):
        self._load, self._kept = load, kept
        self._lock = threading.Lock()
        self._engines: dict[tuple[str, str], Engine] = {}  # the least recently used one comes first

    @contextmanager
    def engine(
        self,
        model: str,
        quantize: str = "none",
        cancelled: Callable[[], bool] | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Engine]:
        """A model, for one job at a time; loaded first where it is not there.

        Args:
            model: an embedded model's name, a folder, or a hub id.
            quantize: ``none``, ``8bit`` or ``4bit``.
            cancelled: asked while another job goes on; True ends the waiting.
            progress: called while a model loads.
        Raises:
            Stopped: ``cancelled()`` turned True while waiting.
            VlmDemoError: it can't be loaded; says why.
        """
        while not self._lock.acquire(timeout=POLL):
            if cancelled and cancelled():
                raise Stopped("Stopped before it began.")
        try:
            engine = self._engines.pop((model, quantize), None)
            if engine is None:
                self._make_room()
                engine = self._load(model, quantize, progress or _silent)
            self._engines[model, quantize] = engine
            yield engine
        finally:
            self._lock.release()

    def forget(self, visitor: str) -> None:
        """Drop what the engines cached of a visitor's pictures and prompts."""
        for engine in list(self._engines.values()):
            engine.forget(visitor)

    def _make_room(self) -> None:
        while len(self._engines) >= self._kept:
            del self._engines[next(iter(self._engines))]
        from vlm_demo.models.quantization import release

        release()


def _silent(fraction: float | None, text: str) -> None:
    """Report no progress."""
