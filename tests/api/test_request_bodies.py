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


def test_bodies_wait_for_the_memory_that_others_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_bodies, "BIGGEST_BODY", 40)
    monkeypatch.setattr(request_bodies, "MOST_BYTES", 100)
    begun: list[int] = []

    async def run() -> None:
        bodies, go = RequestBodies(), asyncio.Event()

        def reading(number: int, length: int | None) -> asyncio.Task[bytes]:
            async def receive() -> Message:
                begun.append(number)
                await go.wait()
                return {"type": "http.request", "body": b"{}", "more_body": False}

            return asyncio.ensure_future(bodies.read(Request({**CHAT, "headers": headers(length)}, receive)))

        tasks = [reading(0, None), reading(1, 40), reading(2, 30)]
        await asyncio.sleep(0.05)
        assert begun == [0, 1] and bodies.reserved == 80
        tasks.append(reading(3, 20))
        await asyncio.sleep(0.05)
        assert begun == [0, 1, 3]  # a small one goes by
        go.set()
        assert await asyncio.gather(*tasks) == [b"{}"] * 4 and bodies.reserved == 0
        with pytest.raises(Refused, match="larger than"):
            await reading(4, 41)
        assert begun == [0, 1, 3, 2]

    coroutines.run(run())
