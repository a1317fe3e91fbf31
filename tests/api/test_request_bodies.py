"""Bodies that come slowly, and many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Message

from tests.kit import coroutines
from tests.kit.fake_engine import FakeEngine
from tests.kit.waiting import LONG
from vlm_demo.api import request_bodies
from vlm_demo.api.access import Access, Places
from vlm_demo.api.openai_server import OpenAiServer
from vlm_demo.api.problems import Refused
from vlm_demo.api.request_bodies import RequestBodies
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.serving.admission import Admission
from vlm_demo.serving.front import Front
from vlm_demo.serving.metrics import Metrics

CHAT = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "root_path": ""}


def headers(length: int | None = None) -> list[tuple[bytes, bytes]]:
    own = [] if length is None else [(b"content-length", str(length).encode())]
    return [(b"content-type", b"application/json"), *own]


def server() -> tuple[ASGIApp, Callable[[], int]]:
    """The page's server, and how many of its places are taken."""
    service = ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")
    places = Places(service)
    return Starlette(routes=OpenAiServer(service, Access(), places).routes()), lambda: places.taken


def front() -> tuple[ASGIApp, Callable[[], int]]:
    """The front of several replicas, and how many of its places are taken."""
    made = Front(Access(), Admission(4), Metrics("f1"))
    return made.application(), lambda: made.admission.open


@pytest.mark.parametrize("build", [server, front])
def test_a_body_that_does_not_end_is_given_up(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_bodies, "SECONDS", 0.1)
    app, taken = build()
    incoming: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop() if incoming else await asyncio.Future()

    async def send(message: Message) -> None:
        sent.append(message)

    coroutines.run(asyncio.wait_for(app({**CHAT, "headers": headers()}, receive, send), LONG))
    assert sent[0]["status"] == 408 and b"did not come within" in sent[1]["body"] and taken() == 0


def test_bodies_wait_for_the_memory_that_others_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_bodies, "BIGGEST_BODY", 40)
    monkeypatch.setattr(request_bodies, "MOST_BYTES", 100)

    async def run() -> None:
        bodies, go = RequestBodies(), asyncio.Event()

        def reading(size: int, length: int | None = None) -> asyncio.Task[bytes]:
            parts: list[Message] = [{"type": "http.request", "body": b"x" * size, "more_body": True}] * (size > 0)

            async def receive() -> Message:
                if parts:
                    return parts.pop()
                await go.wait()
                return {"type": "http.request", "body": b"{}", "more_body": False}

            return asyncio.ensure_future(bodies.read(Request({**CHAT, "headers": headers(length)}, receive)))

        silent = [reading(0, 40) for _ in range(9)]  # announce much and send nothing
        large = [reading(38, length) for length in (None, 40, 40)]
        await asyncio.sleep(0.05)
        assert bodies.held == 76  # the third waits for memory
        small = reading(20, 22)
        await asyncio.sleep(0.05)
        assert bodies.held == 96  # a small one goes by
        go.set()
        found = await asyncio.gather(*silent, *large, small)
        assert [len(body) for body in found] == [2] * 9 + [40] * 3 + [22] and bodies.held == 0
        with pytest.raises(Refused, match="larger than"):
            await reading(0, 41)
        with pytest.raises(Refused, match="larger than"):
            await reading(41)
        assert bodies.held == 0

    coroutines.run(run())


def test_bodies_that_fill_the_memory_together_do_not_wait_for_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_bodies, "BIGGEST_BODY", 40)
    monkeypatch.setattr(request_bodies, "MOST_BYTES", 100)
    most = 0

    async def run() -> None:
        bodies = RequestBodies()

        async def reading() -> bytes:
            parts = [{"type": "http.request", "body": b"x" * 10, "more_body": number > 0} for number in range(4)]

            async def receive() -> Message:
                nonlocal most
                await asyncio.sleep(0)  # the parts of all come in turn
                most = max(most, bodies.held)
                return parts.pop()

            return await bodies.read(Request({**CHAT, "headers": headers()}, receive))

        found = await asyncio.wait_for(asyncio.gather(*(reading() for _ in range(9))), LONG)
        assert [len(body) for body in found] == [40] * 9 and bodies.held == 0 and most <= 140

    coroutines.run(run())
