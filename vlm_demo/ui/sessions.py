"""Sessions: the sessions of all open pages, dropped with their upload files when the pages are closed."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from vlm_demo.ui import uploads
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.session import Session
from vlm_demo.ui.uploads import UploadCache

KEPT_SECONDS = 600.0  # seconds that a conversation is kept after a reload or a lost connection
MOST_WAITING = 16  # pages whose questions are being answered or wait at a time
MOST_KEPT = 32  # conversations that are kept so; of more, the oldest is dropped
SECRET = re.compile(r"[0-9a-f]{32}")  # of a tab
MOST_GONE = 1000  # names of closed pages that are kept
SILENT = 30.0  # seconds in whose second half a page that came back has to be heard of; it polls every few seconds


class Sessions:
    """All open pages, by Gradio's session hash, and the upload cache that they share."""

    def __init__(self, ended: Callable[[Session], object] = lambda session: None) -> None:
        """``ended`` is called with each session that is dropped for good."""
        self._cache = UploadCache()
        self._open: dict[str, Session] = {}
        self._closed: dict[str, Session] = {}  # of closed pages, oldest first
        self._gone: deque[str] = deque(maxlen=MOST_GONE)  # the pages that were closed last
        self._ended = ended
        self._lock = threading.Lock()

    def of(self, session_hash: str | None) -> Session:
        """The session of a page; a fresh one where the page is new or its session was dropped.

        An event of a page that was closed may mean that its connection was lost and is back, or be a late one of a page
        that has gone for good; nothing would close that one again. So it is closed where no more events come.
        """
        name = session_hash or ""
        with self._lock:
            back = name in self._gone and name not in self._open
            if name in self._closed:
                self._open[name] = self._closed.pop(name)
                self._open[name].closed.clear()
            session = self._open.setdefault(name, Session())
            session.heard = time.monotonic()
        if back:
            self._listen(name)
        return session

    def _listen(self, name: str) -> None:
        _later(SILENT, self._close_if_silent, name)

    def _close_if_silent(self, name: str) -> None:
        with self._lock:
            session = self._open.get(name)
        if session is None:
            return
        if session.running:  # the tab may be in the background, where browsers let pages poll once a minute
            self._listen(name)
        elif time.monotonic() - session.heard >= SILENT / 2:
            self.close(name)

    def arrived(self, session_hash: str | None, tab: str) -> Session:
        """A page reports its browser tab: what that tab showed before a reload becomes its session.

        Args:
            tab: a secret of that tab, 32 hexadecimal digits; anything else counts as none.
        """
        name = session_hash or ""
        current = self.of(name)
        if not SECRET.fullmatch(tab):
            return current
        with self._lock:
            for pages in (self._closed, self._open):
                before = next((other for other, session in pages.items() if session.tab == tab and other != name), None)
                if before is not None and not current.exchanges:
                    self._open[name] = current = pages.pop(before)
                    current.closed.clear()
                    current.sent.clear()  # a page reads the clock once, when it is loaded
                    current.page = 1  # of files in the composer, which is empty then
            current.tab = tab
        return current

    def add(self, session: Session, exchange: ChatTurn, alone: bool = True) -> None:
        """Add a question to a page's, with the number of those ahead of it; see ``Session.add``."""
        session.add(exchange, alone)
        exchange.ahead = self.ahead(exchange)

    def ahead(self, exchange: ChatTurn) -> int:
        """How many questions of other pages were asked before this one and are not answered yet."""
        with self._lock:
            others = [session for session in self._open.values() if exchange not in session.exchanges]
        running = [other for session in others for other in (*session.exchanges,) if other.running]
        return sum(other.ticket < exchange.ticket for other in running)

    @property
    def full(self) -> bool:
        """Whether ``MOST_WAITING`` pages have running or waiting questions, so that no more are accepted."""
        with self._lock:
            sessions = list(self._open.values())
        return sum(session.running for session in sessions) >= MOST_WAITING

    def claim(self, session: Session, paths: list[str]) -> None:
        """Register upload files as this page's."""
        with self._lock:
            session.uploads.update(paths)

    def release(self, session: Session) -> None:
        """Delete the upload files of a page (Gradio names them by content: not those that another page holds too)."""
        with self._lock:
            paths, session.uploads = session.uploads, set()
        self.discard(paths)

    def discard(self, paths: Iterable[str]) -> None:
        """Delete upload files that were read, except those that a page has claimed: Gradio names them by content."""
        for path in set(paths) - self._held():
            self._cache.delete(path)

    def close(self, session_hash: str | None) -> None:
        """Stop a closed page's computations, delete its files, and keep its conversation for ``KEPT_SECONDS``.

        It can be found by a reloaded page at once, even while one of its events is still being handled; in that case
        nothing is stopped here.
        """
        name, left = session_hash or "", object()
        with self._lock:
            session = self._open.pop(name, None)
            self._gone.append(name)
            if session:
                session.closed.set()
                session.left = left
                self._closed[name] = session
        if session:
            with session.lock:
                with self._lock:
                    if self._closed.get(name) is not session:  # it came back
                        return
                for exchange in session.exchanges:
                    exchange.lost = exchange.lost or exchange.running
                session.stop()
                self.release(session)
        with self._lock:
            ended = []
            if session and self._closed.get(name) is session:
                if session.tab and session.exchanges:
                    _later(KEPT_SECONDS, self._expire, name, session, left)
                else:
                    ended.append(self._closed.pop(name))
            ended += [self._closed.pop(next(iter(self._closed))) for _ in range(len(self._closed) - MOST_KEPT)]
        for dropped in ended:
            self._end(dropped)
        self._sweep_later()

    def _expire(self, name: str, session: Session, left: object) -> None:
        with self._lock:
            kept = self._closed.get(name)
            if kept is None or kept.left is not left:  # it came back
                return
            del self._closed[name]
        self._end(session)

    def _end(self, session: Session) -> None:
        with session.lock:
            session.stop()
            session.cut(0)
        self.release(session)
        self._ended(session)

    def _held(self) -> set[str]:
        """The upload files that pages have claimed, including closed pages that may come back."""
        with self._lock:
            pages = [*self._open.values(), *self._closed.values()]
            return set().union(*(session.uploads for session in pages))

    def _sweep_later(self) -> None:
        _later(uploads.GRACE, self.sweep)

    def sweep(self) -> None:
        """Delete uploads that no page has claimed, also parts of broken-off ones; too recent ones are checked later."""
        if self._cache.sweep(self._held()):
            self._sweep_later()


def _later(seconds: float, call: Callable[..., object], *arguments: object) -> None:
    timer = threading.Timer(seconds, call, arguments)
    timer.daemon = True
    timer.start()


def session_locked(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a handler, whose last argument is the request, to hold its session's lock: events stay in order."""

    @wraps(handler)
    def locked(self: Any, *arguments: Any) -> Any:
        with self.sessions.of(arguments[-1].session_hash).lock:
            return handler(self, *arguments)

    return locked
