"""Session: the state of one open page, in memory only. Knows neither HTML nor the model."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from vlm_demo.contracts import OcrSettings, Turn
from vlm_demo.errors import Stopped
from vlm_demo.images.open import Source
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.tabs.inspect.map_job import Job
from vlm_demo.ui.tabs.inspect.map_options import MapOptions

if TYPE_CHECKING:
    import numpy as np

    from vlm_demo.engines.registry import Status

NOTICE = 20.0  # seconds that a notice about the model is shown
MAX_FREE_MAPS, MAX_COSTLY_MAPS = 16, 64  # cached heatmaps of a session: free ones, and those the model had to compute


class TabState(Protocol):
    """The state of another tab of the page."""

    def conversation_changed(self, turns: list[ChatTurn]) -> None:
        """Update the state; ``turns`` are the conversation's current questions."""


@dataclass(eq=False)
class Session:
    """One open page: its conversation, the selected word, and its upload files.

    Attributes:
        visitor: the key of the engine's caches for this page; a secret.
        tab: the browser tab's secret, by which it finds its conversation after a reload; empty = not sent.
        languages: of the text in its pictures, where chosen.
        page: which page or frame of uploads that have several is asked about next, from 1.
        answering: held while one of its questions is answered.
        lock: held while it is changed or drawn: each event of a page is handled in a separate thread.
        returned: what Undo has put back into the composer, until the next question; None = nothing.
        notice, alert: a sentence about the model, and whether something is wrong.
        seen: the service's status as the page shows it.
        maps, costly_maps: cached heatmaps: free ones, and those that the model had to compute.
        tabs: the state of the page's other tabs, by name.
        closed: set while the page is closed; ``left`` is a new object each time.
        heard: when the page's last event came, `time.monotonic`.
        sent: when the newest event of each name was sent, milliseconds by the page's clock.
    """

    exchanges: list[ChatTurn] = field(default_factory=list)
    shown: ChatTurn | None = None
    word: int = 0
    map_options: MapOptions = field(default_factory=MapOptions)
    visitor: str = field(default_factory=lambda: secrets.token_hex(8))
    tab: str = ""
    languages: str = ""
    page: int = 1
    job: Job | None = None
    notice: str = ""
    alert: bool = True
    noticed: float = 0.0
    seen: Status | None = None
    returned: dict[str, Any] | None = None
    uploads: set[str] = field(default_factory=set)
    tabs: dict[str, TabState] = field(default_factory=dict)
    maps: dict[Hashable, np.ndarray] = field(default_factory=dict)
    costly_maps: dict[Hashable, np.ndarray] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    answering: threading.Lock = field(default_factory=threading.Lock)
    closed: threading.Event = field(default_factory=threading.Event)
    left: object = None
    heard: float = 0.0
    sent: dict[str, float] = field(default_factory=dict)

    @property
    def last(self) -> ChatTurn | None:
        return self.exchanges[-1] if self.exchanges else None

    @property
    def running(self) -> bool:
        return any(exchange.running for exchange in self.exchanges)

    def with_languages(self, defaults: OcrSettings) -> OcrSettings:
        """The OCR settings of this page: the defaults with the chosen languages, if any."""
        return replace(defaults, languages=self.languages or defaults.languages)

    def overtaken(self, name: str, sent: object) -> bool:
        """Whether a newer event of this name came before the one that was ``sent`` then; requests of a page are handled
        side by side. One that doesn't say when is not."""
        if not isinstance(sent, (int, float)):
            return False
        newest = self.sent.get(name, sent)
        self.sent[name] = max(newest, sent)
        return sent < newest

    def unwanted(self, exchange: ChatTurn) -> bool:
        """Whether measurements of an answer should stop: a new question came, or the answer was removed."""
        return self.running or exchange not in self.exchanges

    def add(self, exchange: ChatTurn, alone: bool = True) -> None:
        """Add a question; this page's computations are stopped, unless it came with others (``alone`` = False)."""
        if alone:
            self.stop()
        self.returned = None
        self.exchanges.append(exchange)

    @property
    def waiting(self) -> ChatTurn | None:
        """The next question to answer."""
        return next((exchange for exchange in self.exchanges if exchange.state == "waiting"), None)

    def stop(self) -> None:
        """Signal all computations of this page to end; waiting questions are stopped at once, and keep the answer that
        they were given, if any."""
        self.halt()
        for exchange in self.exchanges:
            exchange.stop.set()
            if exchange.state == "waiting":
                exchange.state = "stopped"
                exchange.answer_text = exchange.given or ""
            if exchange.blank == "waiting":
                exchange.blank = ""

    def halt(self) -> None:
        """Stop the maps that are being computed."""
        if self.job:
            self.job.stop.set()
        self.job = None

    def cut(self, index: int, replaced: bool = False) -> list[ChatTurn]:
        """Drop the exchanges from ``index`` on and return them; their computations are signalled to stop.

        Args:
            replaced: whether another question takes their place; the caller calls ``tell_tabs`` when it is added.
        """
        self.returned = None
        dropped = self.exchanges[index:]
        for exchange in dropped:
            exchange.stop.set()
        del self.exchanges[index:]
        if self.shown in dropped:
            self.show(next((e for e in reversed(self.exchanges) if e.answer), None))
        if not replaced:
            self.tell_tabs()
        return dropped

    def tell_tabs(self) -> None:
        """Tell the page's other tabs that questions were removed."""
        for tab in self.tabs.values():
            tab.conversation_changed(self.exchanges)

    def notify(self, notice: str, alert: bool = True) -> None:
        """Set the notice about the model for this page alone; an empty one removes it."""
        self.notice, self.alert, self.noticed = notice, alert, time.monotonic()

    def drop_old_notice(self) -> bool:
        """Remove the notice if it was shown long enough; returns whether it was."""
        old = bool(self.notice) and time.monotonic() - self.noticed > NOTICE
        if old:
            self.notify("")
        return old

    def show(self, exchange: ChatTurn | None, word: int = 0) -> None:
        """Select ``word`` of this exchange's answer; cached maps of other answers are dropped."""
        if exchange is not self.shown:
            self.maps.clear()
            self.costly_maps.clear()
            self.map_options.forget()
            self.halt()
        self.shown, self.word = exchange, word

    def remember_map(self, key: Hashable, heat: np.ndarray, costly: bool = False) -> None:
        """Cache a map, and drop the oldest of many: each has as many numbers as its picture has pixels."""
        cache, limit = (self.costly_maps, MAX_COSTLY_MAPS) if costly else (self.maps, MAX_FREE_MAPS)
        cache[key] = heat
        if len(cache) > limit:
            del cache[next(iter(cache))]

    def with_pictures(self, index: int) -> int:
        """The nearest exchange up to ``index`` that has pictures: those its question is about. -1 = none."""
        return next((i for i in range(index, -1, -1) if self.exchanges[i].pictures), -1)

    def context(self, exchange: ChatTurn) -> tuple[list[Source], list[Turn]]:
        """The context of a question: its pictures, and the finished turns about the same pictures.

        A question with new pictures starts afresh. Pictures of a turn without an answer are those of the first question
        after it that was answered, or else of this one.

        Raises:
            Stopped: the question was removed meanwhile.
        """
        with self.lock:
            if exchange not in self.exchanges:
                raise Stopped("This question was taken back.")
            return self._context(self.exchanges.index(exchange))

    def _context(self, index: int) -> tuple[list[Source], list[Turn]]:
        start = self.with_pictures(index)
        earlier = [e for e in self.exchanges[start:index] if e.state == "done" and e.answer_text]
        pictures = self.exchanges[start].sources
        if not earlier:
            return list(pictures), []
        history = [Turn(e.question, e.answer_text, () if number else pictures) for number, e in enumerate(earlier)]
        return [], history
