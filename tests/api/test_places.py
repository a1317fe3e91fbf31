"""The places of programs: who waits for one, when it is free again, and what it does not keep from others."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from tests.api.conftest import Serve
from tests.kit import coroutines
from tests.kit.fake_engine import FakeEngine
from tests.kit.waiting import LONG, wait_until
from vlm_demo.api import access, mcp_server, openai_server
from vlm_demo.api.access import Access, Places
from vlm_demo.api.mcp_server import McpServer
from vlm_demo.api.problems import Refused
from vlm_demo.api.request_bodies import RequestBodies
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import Stopped
from vlm_demo.own_thread import started


def question(uri: str, **settings: Any) -> dict[str, Any]:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": uri}}]
    return {"model": "llava", "messages": [{"role": "user", "content": parts}], **settings}


@pytest.mark.parametrize("stream", [False, True])
def test_a_place_is_free_before_its_answer_is_there(
    serve: Serve, uri: str, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(access, "MOST_WAITING", 1)
    client = serve()
    leave = client.server.places.leave

    def slow() -> None:
        time.sleep(0.2)
        leave()

    monkeypatch.setattr(client.server.places, "leave", slow)
    for _ in range(2):
        assert client.post("/v1/chat/completions", json=question(uri, stream=stream)).status_code == 200
        assert client.server.places.taken == 0


def test_a_request_needs_none_of_asyncio_s_few_threads(serve: Serve, uri: str) -> None:
    app = serve().app
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"",
             "headers": [(b"content-type", b"application/json")], "root_path": ""}  # fmt: skip
    incoming = [{"type": "http.request", "body": json.dumps(question(uri)).encode(), "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop() if incoming else await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def run() -> None:
        with coroutines.busy_executor():
            await asyncio.wait_for(app(scope, receive, send), LONG)

    coroutines.run(run())
    assert sent[0]["status"] == 200


def test_a_request_for_which_no_thread_can_be_started_keeps_no_place(
    serve: Serve, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, works = serve(), []

    def refused(work: Any) -> Any:
        works.append(work)
        if len(works) == 1:  # which reads the request
            return started(work)
        raise RuntimeError("can't start new thread")

    for module in (openai_server, mcp_server):
        monkeypatch.setattr(module, "started", refused)
    response = client.post("/v1/chat/completions", json=question(uri))
    assert response.status_code == 500 and client.server.places.taken == 0
    served = McpServer(client.server.service, Access(), client.server.places, RequestBodies())
    result = coroutines.run(served.called("ask", {"image": uri, "question": "What is it?"}))
    assert result.isError and client.server.places.taken == 0


def test_gradio_s_calls_wait_for_a_place_and_are_served_before_new_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_WAITING", 1)
    places = Places(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava"))
    entered, go, gone = list[int](), threading.Event(), threading.Event()

    def call(number: int) -> None:
        with suppress(Stopped), places.one(gone.is_set if number == 2 else lambda: False):
            entered.append(number)
            assert go.wait(LONG)

    places.enter()
    threads = [threading.Thread(target=call, args=(number,)) for number in (1, 2)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        assert wait_until(lambda number=number: places.awaited == number)
    gone.set()
    threads[1].join(LONG)
    assert places.awaited == 1 and not entered
    places.leave()
    assert wait_until(lambda: entered == [1]) and places.taken == 1
    with pytest.raises(Refused):
        places.enter()
    go.set()
    threads[0].join(LONG)
    assert places.taken == places.awaited == 0


def test_a_place_that_somebody_waits_for_is_taken_by_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_WAITING", 2)
    places = Places(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava"))
    places.enter()
    places.awaited += 1
    with pytest.raises(Refused):
        places.enter()
