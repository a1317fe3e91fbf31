"""Service: the one model that all open pages share, who may exchange it, and how that goes.

Knows neither HTML nor Gradio. One job at a time works with the model; a switch is such a job, so it waits for
running answers, and answers wait for it.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlm_demo.errors import Stopped, VlmDemoError

if TYPE_CHECKING:
    from vlm_demo import Pipeline

Progress = Callable[[float | None, str], None]
Load = Callable[[str, str, Progress], "Pipeline"]

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
LOOPBACK = ("127.0.0.1", "::1", "localhost", "testclient")
UNEXPECTED = "Something unexpected went wrong on the server; the conversation and the model are kept. Please try again."

log = logging.getLogger("vlm_demo.ui")


@dataclass(frozen=True)
class Status:
    """What every page shows of the service. ``busy`` and ``fraction`` (0..1) tell of a switch that goes on."""

    name: str
    parameters: int | None
    precision: str
    parameter_bytes: int
    device: str
    busy: str = ""
    fraction: float | None = None


class Service:
    """Holds the loaded pipeline and serialises the use of it."""

    def __init__(self, pipe: Pipeline, load: Load, model: str, quantize: str = "none"):
        self._pipe, self._load = pipe, load
        self.model, self.quantize = model, quantize
        self._use = threading.Lock()
        self._switch = threading.Lock()
        self._busy = ""
        self._fraction: float | None = None
        self._facts = _facts(pipe)

    @property
    def status(self) -> Status:
        return Status(*self._facts, self._busy, self._fraction)

    @contextmanager
    def pipeline(self, cancelled: Callable[[], bool] = lambda: False) -> Iterator[Pipeline]:
        """The model, for one job.

        Raises:
            Stopped: ``cancelled()`` turned True while waiting.
        """
        while not self._use.acquire(timeout=0.1):
            if cancelled():
                raise Stopped("Stopped before it began.")
        try:
            yield self._pipe
        finally:
            self._use.release()

    def switch(self, model: str, quantize: str) -> None:
        """Load another model or precision and put it in service; if that fails, the loaded one stays.

        Raises:
            VlmDemoError: a sentence saying why the switch failed.
        """
        if not self._switch.acquire(blocking=False):
            raise VlmDemoError("Another switch is going on: wait until it is finished.")
        try:
            self._busy, self._fraction = f"Waiting for running answers, then loading {model} ({quantize}).", None
            with self._use:
                self._busy = f"Loading {model} ({quantize})."
                pipe = self._load(model, quantize, self._progress)
                self._pipe, self.model, self.quantize = pipe, model, quantize
                self._facts = _facts(pipe)
        finally:
            self._busy, self._fraction = "", None
            self._switch.release()

    def _progress(self, fraction: float | None, text: str) -> None:
        self._fraction = fraction
        if text:
            self._busy = text


def _facts(pipe: Pipeline) -> tuple[str, int | None, str, int, str]:
    count = getattr(pipe.model, "num_parameters", None)
    memory = pipe.memory()
    return pipe.name, count() if count else None, pipe.precision, memory.parameter_bytes, str(pipe.device)


def is_operator(client_host: str | None, headers: Mapping[str, str]) -> bool:
    """Whether a request comes from this very machine and through no tunnel or proxy: only then may it switch models."""
    host = headers.get("host", "").rsplit(":", 1)[0].strip("[]")
    direct = not any(header in headers for header in FORWARDED)
    return direct and client_host in LOOPBACK and host in LOOPBACK


def log_unexpected(error: BaseException) -> None:
    """Log where an unexpected error happened, without its message: that could quote the visitor."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s (message withheld)\n%s", type(error).__name__, frames)
