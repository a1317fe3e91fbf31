"""A server of OpenAI's chat protocol on a port of this machine, which can be odd in each way that real ones are."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SAID = ("a", " red", " square")
PROBABILITY = 0.75  # of every token, as a logarithm of e


@dataclass
class Oddities:
    """What the server does otherwise; by default it is as OpenAI's.

    Attributes:
        tokens: the tokens of every answer, of which it sends as many as a question allows.
        models: what it lists; None = its list fails.
        key: that it wants; empty = none.
        status, error: it answers every question with this.
        done: whether a stream ends with ``[DONE]``.
        reason: whether the last chunk gives a reason to finish.
        pings: whether comment lines stand between chunks.
        logprobs: ``sent``, where ``top_logprobs`` is given too, ``ignored`` or ``refused``.
        streams: whether it streams at all.
        breaks_after: it drops the connection after so many tokens.
        lingers: it keeps the connection open after the end.
        page: it answers with a page of HTML.
        go: it waits for this before each token but the first.
        begin: it waits for this before the first.
    """

    tokens: tuple[str, ...] = SAID
    models: tuple[str, ...] | None = ("first", "second")
    key: str = ""
    status: int = 200
    error: Any = None
    done: bool = True
    reason: bool = True
    pings: bool = False
    logprobs: str = "sent"
    streams: bool = True
    breaks_after: int | None = None
    lingers: bool = False
    page: bool = False
    go: threading.Event | None = None
    begin: threading.Event | None = None


@dataclass
class ChatServer:
    """The server as tests see it: its address, every body and header that it was sent, whether it has fallen silent,
    and whether the last client has gone before its end."""

    odd: Oddities
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    silent: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    @property
    def last_body(self) -> dict[str, Any]:
        """The last body."""
        return self.bodies[-1]


class _Quiet(ThreadingHTTPServer):
    """Says nothing of a client that has gone before the answer's end, which clients may."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def chat_server(**odd: Any) -> Iterator[ChatServer]:
    """Serve on a free port of this machine until the block ends."""
    state = ChatServer(Oddities(**odd))

    class Handler(_Handler):
        server_state = state

    http = _Quiet(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    state.address = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.closing.set()
        for waited in (state.odd.go, state.odd.begin):
            if waited:
                waited.set()
        http.shutdown()
        http.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_state: ChatServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        odd = self._received()
        if odd.key and self.headers.get("Authorization") != f"Bearer {odd.key}":
            self._json(401, {"error": {"message": f"wrong key {self.headers.get('Authorization')}"}})
        elif self.path != "/v1/models" or odd.models is None:
            self._json(500, {"detail": "no hub cache"})
        else:
            self._json(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in odd.models]})

    def do_POST(self) -> None:
        odd = self._received()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server_state.bodies.append(body)
        if odd.key and self.headers.get("Authorization") != f"Bearer {odd.key}":
            self._json(401, {"error": {"message": f"wrong key {self.headers.get('Authorization')}"}})
        elif self.path != "/v1/chat/completions":
            self._json(404, {"detail": "Not Found"})
        elif odd.page:
            self._body(200, b"<html>a proxy says hello</html>", "text/html")
        elif odd.status != 200:
            self._json(odd.status, odd.error)
        elif odd.logprobs == "refused" and "logprobs" in body:
            message = "logprobs is not supported for models created with logits_all=False"
            self._json(500, {"error": {"message": message}})
        elif not odd.streams:
            message = {"role": "assistant", "content": "".join(odd.tokens[: body.get("max_tokens")])}
            self._json(200, {"choices": [{"index": 0, "message": message, "finish_reason": _reason(body, odd)}]})
        else:
            try:
                self._stream(body, odd)
            except OSError:
                self.server_state.left.set()

    def _stream(self, body: dict[str, Any], odd: Oddities) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if odd.begin:
            self._silent(odd.begin)
        self._event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})
        for number, token in enumerate(odd.tokens[: body.get("max_tokens")]):
            if odd.breaks_after == number:
                self.close_connection = True
                self.connection.close()
                return
            if odd.go and number:
                self._silent(odd.go)
            if odd.pings:
                self._chunk(b": ping - 2026-01-01\n\n")
            choice: dict[str, Any] = {"index": 0, "delta": {"content": token}, "finish_reason": None}
            if body.get("logprobs") and body.get("top_logprobs") is not None and odd.logprobs == "sent":
                choice["logprobs"] = {"content": [{"token": token, "logprob": -0.2876820724517809}]}
            self._event({"choices": [choice]})
        if odd.reason:
            self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": _reason(body, odd)}]})
            self._event({"choices": [], "usage": {"total_tokens": 3}})
        if odd.done:
            self._chunk(b"data: [DONE]\n\n")
        if odd.lingers:
            self._silent(self.server_state.closing)
        self._chunk(b"")

    def _silent(self, until: threading.Event) -> None:
        """Send nothing until then; the client may go meanwhile, which is the end of what it would have read."""
        self.server_state.silent.set()
        self.connection.settimeout(0.01)
        try:
            while not until.is_set():
                try:
                    if self.connection.recv(1) == b"":
                        raise OSError("the client has gone")
                except TimeoutError:
                    continue
        finally:
            self.connection.settimeout(None)

    def _event(self, data: dict[str, Any]) -> None:
        self._chunk(f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode())

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()

    def _received(self) -> Oddities:
        self.server_state.headers.append(dict(self.headers))
        self.server_state.paths.append(self.path)
        return self.server_state.odd

    def _json(self, status: int, data: Any) -> None:
        self._body(status, json.dumps(data).encode(), "application/json")

    def _body(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _reason(body: dict[str, Any], odd: Oddities) -> str:
    """Why the answer ends."""
    return "length" if len(odd.tokens) > body.get("max_tokens", len(odd.tokens)) else "stop"
