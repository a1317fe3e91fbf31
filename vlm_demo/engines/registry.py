"""Registry: the one engine that all open pages share, who may replace it, and the progress of a switch.

Knows neither HTML nor Gradio. A switch waits for running answers, and answers wait for it; the engine itself decides
whose turn it is to compute.
"""

from __future__ import annotations

import hmac
import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vlm_demo.contracts.engine import ELSEWHERE, Engine, Request, answered
from vlm_demo.contracts.ocr import DEFAULT_OCR, OcrSettings
from vlm_demo.engines.scheduler import BATCH, ModelUse
from vlm_demo.engines.side_engines import Load, Progress, SideEngines
from vlm_demo.errors import VlmDemoError

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
LOOPBACK = ("127.0.0.1", "::1", "localhost", "testclient")
OPERATOR_COOKIE = "vlm_demo_operator"
SMALL = 100_000_000  # parameters of a model that is timed at each switch; larger ones by the answers that they give
TRIAL = 24  # tokens of such a timing, at most
LEAST = 4  # tokens of an answer from which a pace can be measured
KEPT = 9  # answers whose pace is stored, for its median
ENOUGH = 3  # of them, before paces are compared
UNEXPECTED = "Something unexpected went wrong on the server; the conversation and the model are kept. Please try again."

log = logging.getLogger("vlm_demo.ui")


@dataclass(frozen=True)
class Status:
    """What every page shows of the model. ``busy`` and ``fraction`` (0..1) are of a loading that goes on, ``problem``
    of one that failed and left no model."""

    name: str
    parameters: int | None
    precision: str
    parameter_bytes: int
    device: str
    busy: str = ""
    fraction: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Measured:
    """The measured cost of one model at one precision on this machine: ``seconds`` of a token after the first, None
    until an answer is long enough; ``fastest`` and ``slowest`` likewise, None until there are enough answers, as a
    single one depends too much on what else the machine is doing."""

    parameter_bytes: int
    seconds: float | None
    fastest: float | None = None
    slowest: float | None = None


class ModelRegistry:
    """Holds the loaded engine. Without one, ``begin`` loads it. ``side_engines`` holds further ones, for comparisons.
    ``ocr_settings`` are the defaults for reading text, ``at_once`` is how many requests of the page and of Gradio's
    endpoints are handed to the engine at a time."""

    ocr_settings: OcrSettings = DEFAULT_OCR
    at_once: int = BATCH

    def __init__(self, engine: Engine | None, load: Load, model: str, quantize: str = "none", device: str = "cpu"):
        self._engine, self._load = engine, load
        self.model, self.quantize = model, quantize
        self.side_engines = SideEngines(load)
        self.served = model if engine and engine.device == ELSEWHERE else ""  # a server's model, to come back to
        self._use = ModelUse()
        self._switch = threading.Lock()
        self._busy = ""
        self._fraction: float | None = None
        self._problem = ""
        self._facts = _facts(engine) if engine else (named(model), None, "", 0, device)
        self._paces: dict[tuple[str, str], list[float]] = {}
        self._bytes: dict[tuple[str, str], int] = {}
        self.operator_token: str | None = None  # see `is_operator`
        if engine:
            self._record_size()

    @property
    def status(self) -> Status:
        return Status(*self._facts, self._busy, self._fraction, self._problem)

    @property
    def ready(self) -> bool:
        """Whether a model is loaded."""
        return self._engine is not None

    @property
    def scores(self) -> bool:
        """Whether the model in service compares pictures with texts; False as long as there is none."""
        return self._engine is not None and self._engine.capabilities.scores

    def begin(self, progress: Progress | None = None) -> threading.Thread:
        """Load the model in the background. Questions wait for it, and a switch is refused meanwhile.

        Args:
            progress: called with what the pages show too.
        Returns:
            The thread, which has ended when the model is there or has failed to load; ``status`` says which.
        """

        def report(fraction: float | None, text: str) -> None:
            self._progress(fraction, text)
            if progress:
                progress(fraction, text)

        # Held from now on, so that no question can come first.
        self._switch.acquire()
        release = self._use.reserve()
        self._busy = f"Loading {named(self.model)}."
        thread = threading.Thread(target=self._load_first, args=(report, release), daemon=True)
        thread.start()
        return thread

    def _load_first(self, report: Progress, release: Callable[[], None]) -> None:
        try:
            self._engine = self._load(self.model, self.quantize, report)
            self._facts = _facts(self._engine)
            self._record_size()
        except VlmDemoError as error:
            self._problem = str(error)
            report(None, "")  # the terminal's line is free again
            log.error("%s", error)
        except Exception as error:
            self._problem = f"{named(self.model)} could not be loaded."
            log_unexpected(error)
        finally:
            self._busy, self._fraction = "", None
            release()
            self._switch.release()

    @contextmanager
    def engine(self, cancelled: Callable[[], bool] | None = None) -> Iterator[Engine]:
        """The model, for one job: it is not exchanged as long as the block lasts.

        Raises:
            Stopped: ``cancelled()`` turned True while waiting.
            VlmDemoError: no model could be loaded; says why.
        """
        with self._use.use(cancelled):
            if self._engine is None:
                raise VlmDemoError(self._problem)
            yield self._engine

    def close(self, seconds: float) -> int:
        """Let no job begin any more, and wait for those that have, so many seconds at most; returns how many go on."""
        return self._use.close(seconds)

    @property
    def measured(self) -> dict[str, Measured]:
        """Precision → what was measured of the loaded model in it since the start."""
        found = {quantize: size for (model, quantize), size in self._bytes.items() if model == self.model}
        paces = {quantize: self._paces.get((self.model, quantize), []) for quantize in found}
        return {quantize: _measured(size, paces[quantize]) for quantize, size in found.items()}

    def record_pace(self, answer: Answer) -> None:
        """Remember how fast the loaded model wrote an answer."""
        if len(answer.tokens) >= LEAST:
            paces = self._paces.setdefault((self.model, self.quantize), [])
            paces.append(answer.timings.decode / (len(answer.tokens) + answer.cut - 1))
            del paces[:-KEPT]

    def forget(self, visitor: str) -> None:
        """Drop what the model and the side engines cached of a visitor's pictures and prompts: that
        conversation has ended."""
        if self._engine:
            self._engine.forget(visitor)
        self.side_engines.forget(visitor)

    def _record_size(self) -> None:
        self._bytes[self.model, self.quantize] = self._facts[3]

    def _time_small_model(self) -> None:
        """Time a small model that has not answered yet, so that a switch can be compared with what was before."""
        parameters = self._facts[1]
        if not self._engine or (self.model, self.quantize) in self._paces or not parameters or parameters > SMALL:
            return
        from PIL import Image, ImageDraw

        # What a trial fails at is reported when somebody asks.
        with suppress(VlmDemoError):
            picture = Image.new("RGB", (224, 224), "white")
            pen = ImageDraw.Draw(picture)
            pen.ellipse((20, 20, 100, 100), fill="red")
            pen.rectangle((120, 120, 200, 200), fill="blue")
            for number in range(1 + ENOUGH):  # the first warms up
                request = Request((picture,), "Describe the picture.", max_new_tokens=TRIAL)
                answer = answered(self._engine.stream(request))
                if number:
                    self.record_pace(answer)

    def switch(self, model: str, quantize: str) -> None:
        """Load another model or precision and put it in service; if that fails, the loaded one stays. The memory of the
        one that was loaded is given back.

        Raises:
            VlmDemoError: a sentence saying why the switch failed.
        """
        if not self._switch.acquire(blocking=False):
            raise VlmDemoError("Another switch is going on: wait until it is finished.")
        try:
            wanted = f"{named(model)} ({quantize})"
            self._busy, self._fraction = f"Waiting for running answers, then loading {wanted}.", None
            with self._use.exchange():
                self._busy = f"Loading {wanted}."
                if model == self.model:
                    self._time_small_model()
                self._engine = self._load(model, quantize, self._progress)
                self.model, self.quantize, self._facts = model, quantize, _facts(self._engine)
                self._problem = ""
                _release()
                self._record_size()
                self._time_small_model()
        finally:
            self._busy, self._fraction = "", None
            self._switch.release()

    def _progress(self, fraction: float | None, text: str) -> None:
        self._fraction = fraction
        if text:
            self._busy = text


def named(model: str) -> str:
    """A model's name for visitors: of a folder, whose location must not be shown, the last part."""
    folder = os.path.expanduser(model)
    return os.path.basename(os.path.normpath(folder)) if os.path.isdir(folder) else model


def _measured(parameter_bytes: int, paces: list[float]) -> Measured:
    if len(paces) < ENOUGH:
        return Measured(parameter_bytes, median(paces) if paces else None)
    return Measured(parameter_bytes, median(paces), min(paces), max(paces))


def _release() -> None:
    from vlm_demo.models.quantization import release

    release()


def _facts(engine: Engine) -> tuple[str, int | None, str, int, str]:
    return engine.name, engine.parameters, engine.precision, engine.memory().parameter_bytes, engine.device


def is_operator(client_host: str | None, headers: Mapping[str, str], token: str | None = None) -> bool:
    """Whether a request may switch models: its cookie ``OPERATOR_COOKIE`` is ``token``, which is issued for the
    operator's key; or, where there is no key (``token`` is None), it comes from this machine and through no tunnel or
    proxy.

    Some proxies tell of themselves nothing but ``Connection: close`` (nginx, unless configured); what a browser sends
    through them still names their own address as its origin.
    """
    if token is not None:
        given = SimpleCookie()
        with suppress(CookieError):
            given.load(headers.get("cookie", ""))
        return OPERATOR_COOKIE in given and hmac.compare_digest(given[OPERATOR_COOKIE].value.encode(), token.encode())
    host = headers.get("host", "").rsplit(":", 1)[0].strip("[]")
    origin = _host_of(headers["origin"]) if "origin" in headers else host
    direct = headers.get("connection", "").lower() != "close" and not any(header in headers for header in FORWARDED)
    return direct and client_host in LOOPBACK and host in LOOPBACK and origin in LOOPBACK


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).hostname
    except ValueError:
        return None


def log_unexpected(error: BaseException) -> None:
    """Log where an unexpected error happened, without its message: that could quote the visitor."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s (message withheld)\n%s", type(error).__name__, frames)
