"""In process: one request → the messages with which an ASGI application of this process answers it, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message

Headers = Sequence[tuple[bytes, bytes]]


async def answered(
    application: ASGIApp, method: str, path: str, headers: Headers, body: bytes
) -> AsyncGenerator[Message]:
    """Call the application; closing the generator is to it a client's disconnect, and waits until it has ended.

    Args:
        path: decoded, with its leading slash.
        headers: names in lower case.
    Yields:
        ``http.response.start``, then every ``http.response.body``.
    """
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "root_path": "",
        "query_string": b"",
        "headers": list(headers),
        "client": None,
        "server": None,
    }
    sent: asyncio.Queue[Message | None] = asyncio.Queue()
    disconnected, body_sent = asyncio.Event(), False

    async def receive() -> Message:
        nonlocal body_sent
        if not body_sent:
            body_sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        await disconnected.wait()
        return {"type": "http.disconnect"}

    async def run() -> None:
        try:
            await application(scope, receive, sent.put)
        finally:
            sent.put_nowait(None)

    running = asyncio.ensure_future(run())
    try:
        while (message := await sent.get()) is not None:
            yield message
        await running  # raises what the application raised
    finally:
        disconnected.set()
        with suppress(Exception):
            await running
