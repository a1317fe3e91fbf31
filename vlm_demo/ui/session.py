"""Sessions: what one open page has asked. Lives in memory and goes, with its files, when the page is closed.

Knows neither HTML nor the model.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol

from vlm_demo.contracts import OcrSettings, Turn
from vlm_demo.engines.registry import log_unexpected
from vlm_demo.errors import Stopped, VlmDemoError
from vlm_demo.images.open import Source
from vlm_demo.ui import uploads
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.tabs.inspect.map_job import Job
from vlm_demo.ui.tabs.inspect.map_options import MapOptions
from vlm_demo.ui.uploads import UploadCache

if TYPE_CHECKING:
    import numpy as np

    from vlm_demo.engines.registry import Status

NOTICE = 20.0  # seconds that a sentence about the model stands
KEPT = 600.0  # seconds that a page's conversation waits for it, after a reload or a lost connection
MOST_WAITING = 16  # pages whose questions are being answered or wait at a time
MOST_KEPT = 32  # conversations that wait so; of more, the one that has waited longest goes
SECRET = re.compile(r"[0-9a-f]{32}")  # of a tab
MAPS, DEAR = 16, 64  # maps that a page's session remembers: free ones, and those that the model was asked for


class Follower(Protocol):
    """What another tab of the page holds, and hears when questions are taken back."""

    def follow(self, turns: list[ChatTurn]) -> None:
        """These are the questions that there are now."""


@dataclass(eq=False)
class Session:
    """One open page: its conversation, the word that is looked at, and the upload files that it owns.

    Attributes:
        visitor: whom the model remembers its pictures for; a secret.
        tab: the browser tab's own secret, by which it finds its conversation again; empty = none was told.
        languages: of the text in its pictures, where the person chose any.
        page: which page or frame of uploads that have several is asked about next, from 1.
        answering: held while one of its questions is answered.
        lock: held while it is changed or drawn: each press of a page is heard in a thread of its own.
        returned: what Undo has put back into the composer, until the next question; None = nothing.
        notice, alert: a sentence about the model, and whether something is wrong.
        seen: the service's status as the page shows it.
        tabs: what other tabs of the page hold, by their names.
        closed: set while the page is gone; ``left`` tells one such time from another.
    """

    exchanges: list[ChatTurn] = field(default_factory=list)
    shown: ChatTurn | None = None
    word: int = 0
    look: MapOptions = field(default_factory=MapOptions)
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
    tabs: dict[str, Follower] = field(default_factory=dict)
    maps: dict[Hashable, np.ndarray] = field(default_factory=dict)
    dear: dict[Hashable, np.ndarray] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    answering: threading.Lock = field(default_factory=threading.Lock)
    closed: threading.Event = field(default_factory=threading.Event)
    left: object = None

    @property
    def last(self) -> ChatTurn | None:
        return self.exchanges[-1] if self.exchanges else None

    @property
    def running(self) -> bool:
        return any(exchange.running for exchange in self.exchanges)

    def reading(self, usual: OcrSettings) -> OcrSettings:
        """How text in this page's pictures is read: in the languages that the person chose, if any."""
        return replace(usual, languages=self.languages or usual.languages)

    def unwanted(self, exchange: ChatTurn) -> bool:
        """Whether what is still to be measured of an answer has to wait for a new question, or for nothing any more."""
        return self.running or exchange not in self.exchanges

    def measure(self, pending: list[ChatTurn], measured: str, work: Callable[[ChatTurn], None]) -> None:
        """Measure what is still open of some answers, until a new question comes; what that interrupts stays open.

        Args:
            measured: the field of an exchange that becomes True when nothing more can be measured.
            work: measures one of them.
        """
        for exchange in pending:
            try:
                work(exchange)
            except Stopped:
                return
            except VlmDemoError:  # a model that records nothing, or another one than the one that answered
                pass
            except Exception as error:
                log_unexpected(error)
            setattr(exchange, measured, True)

    def add(self, exchange: ChatTurn, alone: bool = True) -> None:
        """A new question; what is still being computed for this page is no longer wanted, unless it is one of several
        that came together (``alone`` = False)."""
        if alone:
            self.stop()
        self.returned = None
        self.exchanges.append(exchange)

    @property
    def waiting(self) -> ChatTurn | None:
        """The question whose turn it is."""
        return next((exchange for exchange in self.exchanges if exchange.state == "waiting"), None)

    def stop(self) -> None:
        """Tell whatever is being computed for this page to end; what still waits for its turn is stopped at once."""
        self.halt()
        for exchange in self.exchanges:
            exchange.stop.set()
            if exchange.state == "waiting":
                exchange.state = "stopped"

    def halt(self) -> None:
        """The maps that are being computed are no longer wanted."""
        if self.job:
            self.job.stop.set()
        self.job = None

    def cut(self, index: int) -> list[ChatTurn]:
        """Drop the exchanges from ``index`` on and return them; their computing is told to stop."""
        self.returned = None
        dropped = self.exchanges[index:]
        for exchange in dropped:
            exchange.stop.set()
        del self.exchanges[index:]
        if self.shown in dropped:
            self.show(next((e for e in reversed(self.exchanges) if e.answer), None))
        for tab in self.tabs.values():
            tab.follow(self.exchanges)
        return dropped

    def notify(self, notice: str, alert: bool = True) -> None:
        """A sentence about the model for this page alone, of something wrong or not; an empty one takes it back."""
        self.notice, self.alert, self.noticed = notice, alert, time.monotonic()

    def drop_old_notice(self) -> bool:
        """Take the notice back if it has stood long enough; returns whether it did."""
        old = bool(self.notice) and time.monotonic() - self.noticed > NOTICE
        if old:
            self.notify("")
        return old

    def show(self, exchange: ChatTurn | None, word: int = 0) -> None:
        """Look at ``word`` of this exchange's answer from now on; maps of other answers are forgotten."""
        if exchange is not self.shown:
            self.maps.clear()
            self.dear.clear()
            self.look.forget()
            self.halt()
        self.shown, self.word = exchange, word

    def keep(self, key: Hashable, heat: np.ndarray, dear: bool = False) -> None:
        """Remember a map, and forget the oldest of many: each has as many numbers as its picture has pixels."""
        shelf, room = (self.dear, DEAR) if dear else (self.maps, MAPS)
        shelf[key] = heat
        if len(shelf) > room:
            del shelf[next(iter(shelf))]

    def with_pictures(self, index: int) -> int:
        """The nearest exchange up to ``index`` that brought pictures: those its question is about. -1 = none."""
        return next((i for i in range(index, -1, -1) if self.exchanges[i].pictures), -1)

    def context(self, exchange: ChatTurn) -> tuple[list[Source], list[Turn]]:
        """What a question is asked with: pictures of its own, and the finished turns about the same pictures.

        A question with new pictures starts afresh: what was said about another picture is not evidence for this one.
        Where the turn that brought the pictures has no answer, the question brings them itself.

        Raises:
            Stopped: the question was taken back meanwhile.
        """
        with self.lock:
            if exchange not in self.exchanges:
                raise Stopped("This question was taken back.")
            return self._context(self.exchanges.index(exchange))

    def _context(self, index: int) -> tuple[list[Source], list[Turn]]:
        exchange = self.exchanges[index]
        start = self.with_pictures(index)
        earlier = [e for e in self.exchanges[start:index] if e.state == "done" and e.said]
        first = self.exchanges[start]
        if first not in earlier:
            return list(first.sources), []
        return list(exchange.sources), [Turn(e.question, e.said, e.sources) for e in earlier]


class Sessions:
    """All open pages, by Gradio's session hash, and the upload cache that they share."""

    def __init__(self, ended: Callable[[Session], object] = lambda session: None) -> None:
        """``ended`` is told of each session that has gone for good."""
        self._cache = UploadCache()
        self._open: dict[str, Session] = {}
        self._kept: dict[str, Session] = {}  # of pages that are closed; the one that has waited longest comes first
        self._ended = ended
        self._lock = threading.Lock()

    def of(self, session_hash: str | None) -> Session:
        """The session of a page; a fresh one where the page is new or the server had forgotten it."""
        name = session_hash or ""
        with self._lock:
            if name in self._kept:  # its connection was lost, and is there again
                self._open[name] = self._kept.pop(name)
                self._open[name].closed.clear()
            return self._open.setdefault(name, Session())

    def arrived(self, session_hash: str | None, tab: str) -> Session:
        """A page says which browser tab it is in: what that tab showed before it was loaded again is its session's.

        Args:
            tab: a secret of that tab, 32 hexadecimal digits; anything else counts as none.
        """
        name = session_hash or ""
        own = self.of(name)
        if not SECRET.fullmatch(tab):
            return own
        with self._lock:
            for pages in (self._kept, self._open):
                before = next((other for other, session in pages.items() if session.tab == tab and other != name), None)
                if before is not None and not own.exchanges:
                    self._open[name] = own = pages.pop(before)
                    own.closed.clear()
            own.tab = tab
        return own

    def ahead(self, exchange: ChatTurn) -> int:
        """How many questions of other pages were asked before this one and are not answered yet."""
        with self._lock:
            others = [session for session in self._open.values() if exchange not in session.exchanges]
        asked = [own for session in others for own in (*session.exchanges,) if own.running]
        return sum(own.ticket < exchange.ticket for own in asked)

    @property
    def full(self) -> bool:
        """Whether the questions of so many pages are being answered or wait that no more are taken."""
        with self._lock:
            held = list(self._open.values())
        return sum(session.running for session in held) >= MOST_WAITING

    def claim(self, session: Session, paths: list[str]) -> None:
        """Remember upload files as this page's own."""
        with self._lock:
            session.uploads.update(paths)

    def release(self, session: Session) -> None:
        """Delete the upload files of a page (Gradio names them by content: not those that another page holds too)."""
        with self._lock:
            paths, session.uploads = session.uploads, set()
        self.discard(paths)

    def discard(self, paths: Iterable[str]) -> None:
        """Delete upload files that were read, but for those that a page has claimed: Gradio names them by content."""
        for path in set(paths) - self._held():
            self._cache.delete(path)

    def close(self, session_hash: str | None) -> None:
        """The page is gone: stop its computing and delete its files. Where it may come back, its conversation is kept
        in memory for ``KEPT`` seconds; then, or else at once, it is forgotten."""
        name = session_hash or ""
        with self._lock:
            session = self._open.pop(name, None)
        if session:
            session.closed.set()
            with session.lock:
                for exchange in session.exchanges:
                    exchange.lost = exchange.lost or exchange.running
                session.stop()
            self.release(session)
        with self._lock:
            crowded = []
            if session and session.tab and session.exchanges:
                self._kept[name] = session
                session.left = object()
                crowded = [self._kept.pop(next(iter(self._kept))) for _ in range(len(self._kept) - MOST_KEPT)]
                later = threading.Timer(KEPT, self._expire, (name, session, session.left))
                later.daemon = True
                later.start()
                session = None
        for gone in (session, *crowded):
            if gone:
                self._end(gone)
        self._sweep_later()

    def _expire(self, name: str, session: Session, left: object) -> None:
        with self._lock:
            waiting = self._kept.get(name)
            if waiting is None or waiting.left is not left:  # it came back
                return
            del self._kept[name]
        self._end(session)

    def _end(self, session: Session) -> None:
        with session.lock:
            session.stop()
            session.cut(0)
        self.release(session)
        self._ended(session)

    def _held(self) -> set[str]:
        """The upload files that a page has claimed, of those too that may come back."""
        with self._lock:
            pages = [*self._open.values(), *self._kept.values()]
            return set().union(*(session.uploads for session in pages))

    def _sweep_later(self) -> None:
        later = threading.Timer(uploads.GRACE, self.sweep)
        later.daemon = True
        later.start()

    def sweep(self) -> None:
        """Delete uploads that no open page has claimed: those of pages that were closed during an upload (which leaves
        a part of it in the cache's own folder) or just after one. What is too young yet is looked at again later."""
        if self._cache.sweep(self._held()):
            self._sweep_later()


def alone(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler, whose last argument is the request, that is the only one to work with its page's session: presses that
    follow each other fast are heard in the order of their arrival, and none is drawn half done."""

    @wraps(handler)
    def heard(self: Any, *arguments: Any) -> Any:
        with self.sessions.of(arguments[-1].session_hash).lock:
            return handler(self, *arguments)

    return heard
