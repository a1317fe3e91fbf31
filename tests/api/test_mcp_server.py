"""The tools of the MCP server, as a client of the protocol sees and uses them."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import uvicorn
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from PIL import Image
from starlette.applications import Starlette
from starlette.types import Message

from tests.kit import coroutines
from tests.kit.coroutines import busy_executor
from tests.kit.fake_engine import FakeEngine
from tests.kit.waiting import LONG, wait_until
from vlm_demo.api import access, request_bodies
from vlm_demo.api.access import Access, Places
from vlm_demo.api.mcp_server import McpServer
from vlm_demo.api.request_bodies import RequestBodies
from vlm_demo.contracts.checks import NAMES
from vlm_demo.contracts.engine import Event, Request
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import Stopped

OPEN = Access()


@pytest.fixture(autouse=True)
def straight(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


@asynccontextmanager
async def session(access: Access, key: str | None):
    service = ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")
    served = McpServer(service, access, Places(service), RequestBodies())
    app = Starlette(routes=[served.route()], lifespan=served.running)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    running = asyncio.ensure_future(server.serve())
    while not server.started:
        assert not running.done()  # it has failed to start
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with (
            streamablehttp_client(f"http://127.0.0.1:{port}/mcp", headers=headers) as (read, write, _),
            ClientSession(read, write) as client,
        ):
            await client.initialize()
            yield client
    finally:
        server.should_exit = True
        await running


def with_client(use: Callable[[ClientSession], Any], access: Access = OPEN, key: str | None = None) -> Any:
    async def run() -> Any:
        async with session(access, key) as client:
            return await use(client)

    return coroutines.run(run())


def test_tools_are_listed_with_their_arguments() -> None:
    tools = {tool.name: tool for tool in with_client(lambda client: client.list_tools()).tools}
    assert set(tools) == {"ask", "check", "explain", "fields", "score"}
    ask = tools["ask"].inputSchema
    assert ask["required"] == ["image", "question"] and ask["properties"]["max_tokens"]["default"] == 256
    assert "data URI" in ask["properties"]["image"]["description"] and tools["ask"].description


def test_fields_of_a_document_are_read(uri: str) -> None:
    schema = {"properties": {"paid": {"type": "boolean"}, "shop": {}}, "required": ["paid"]}

    async def use(client: ClientSession) -> list[Any]:
        return [
            await client.call_tool("fields", {"image": uri, "schema": schema}),
            await client.call_tool("fields", {"image": uri, "schema": {}}),
        ]

    read, refused = with_client(use)
    fields = json.loads(read.content[0].text)
    assert (
        fields["fields"]["paid"] is None and isinstance(fields["fields"]["shop"], str) and fields["missing"] == ["paid"]
    )
    assert refused.isError and "no properties" in refused.content[0].text


def test_tools_answer(uri: str) -> None:
    async def use(client: ClientSession) -> list[Any]:
        return [
            await client.call_tool("ask", {"image": uri, "question": "What is it?"}),
            await client.call_tool(
                "explain", {"image": uri, "question": "What?", "answer": "a red star", "words": ["star", "boat"]}
            ),
            await client.call_tool("check", {"image": uri, "question": "What is it?", "blank": True}),
            await client.call_tool("score", {"image": uri, "texts": ["a star", "a boat"]}),
        ]

    asked, explained, checked, scored = with_client(use)
    checklist = json.loads(checked.content[0].text)
    assert checklist["text"] == asked.content[0].text and [check["name"] for check in checklist["checks"]] == list(
        NAMES
    )
    assert asked.content[0].text == "a large purple star and a small red square"
    figures, drawn = explained.content
    figures = json.loads(figures.text)
    assert [token["text"] for token in figures["tokens"]] == ["a", " red", " star"]
    assert figures["heatmaps"][0]["problem"] is None and figures["heatmaps"][1]["problem"]
    assert Image.open(io.BytesIO(b64decode(drawn.data))).size == (30, 20)
    assert json.loads(scored.content[0].text) == {"a star": 0.5, "a boat": 0.5}


def test_a_call_needs_a_place_and_none_of_asyncio_s_few_threads(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")
    places = Places(service)
    served = McpServer(service, OPEN, places, RequestBodies())
    given = {"image": uri, "question": "What is it?"}

    async def run() -> None:
        with busy_executor():
            content = await asyncio.wait_for(served.called("ask", given), LONG)
        assert isinstance(content, list) and content[0].text and places.taken == 0
        monkeypatch.setattr(access, "MOST_WAITING", 0)
        refused = await served.called("ask", given)
        assert refused.isError and "try again" in refused.content[0].text and places.taken == 0

    coroutines.run(run())


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("ask", {"image": "/etc/passwd", "question": "x"}, "data URIs"),
        ("ask", {"image": "http://169.254.169.254/", "question": "x"}, "is not fetched"),
        ("ask", {"image": "data:image/png;base64,AAAA", "question": "x"}, "not a picture"),
        ("ask", {"question": "x"}, "image can't be used: field required"),
        ("ask", {"image": "x", "question": "x", "path": "/etc/passwd"}, "path can't be used"),
        ("delete", {}, "no such tool"),
    ],
)
def test_what_can_t_be_used_is_one_sentence(name: str, given: dict[str, str], sentence: str) -> None:
    result = with_client(lambda client: client.call_tool(name, given))
    assert result.isError and sentence in result.content[0].text and "\n" not in result.content[0].text


def test_the_page_s_password_is_the_key(uri: str) -> None:
    access = Access("secret")
    given = {"image": uri, "question": "What is it?"}
    assert not with_client(lambda client: client.call_tool("ask", given), access, "secret").isError
    for key in (None, "wrong"):
        with pytest.raises(BaseExceptionGroup) as caught:
            with_client(lambda client: client.list_tools(), access, key)
        assert caught.group_contains(Exception, match="401")


def test_a_picture_may_be_as_large_as_for_the_other_apis() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), dtype=np.uint8)
    photo = io.BytesIO()
    Image.fromarray(pixels).save(photo, "PNG")
    assert len(photo.getvalue()) > 4 * 2**20
    given = {"image": f"data:image/png;base64,{b64encode(photo.getvalue()).decode()}", "question": "What is it?"}
    assert not with_client(lambda client: client.call_tool("ask", given)).isError


def posted(body: bytes, engine: FakeEngine, until: Callable[[], Any] | None = None) -> tuple[list[Message], Places]:
    """What the server sends to a client that posts this, which leaves after ``until``."""
    service = ModelRegistry(engine, lambda *_: FakeEngine(), "llava")
    places = Places(service)
    served = McpServer(service, OPEN, places, RequestBodies())
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if not parts:
            await (asyncio.to_thread(until) if until else asyncio.Future())
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        scope = {"type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "root_path": ""}
        kinds = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
        async with served.running(None):
            answering = served.route().app({**scope, "headers": kinds}, receive, send)
            await asyncio.wait_for(answering, LONG)

    coroutines.run(run())
    return sent, places


def test_too_large_a_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_bodies, "BIGGEST_BODY", 100)
    start, end = posted(b"x" * 101, FakeEngine())[0]
    assert start["status"] == 413 and b"larger than" in end["body"]


def test_computing_ends_when_the_client_leaves(uri: str) -> None:
    class Held(FakeEngine):
        started, ended = threading.Event(), threading.Event()

        def stream(self, request: Request) -> Iterator[Event]:
            self.started.set()
            while not request.cancelled():
                self.ended.wait(0.001)
            self.ended.set()
            raise Stopped("Stopped.")

    engine = Held()
    call = {"name": "ask", "arguments": {"image": uri, "question": "What is it?"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    sent, places = posted(json.dumps(message).encode(), engine, lambda: engine.started.wait(LONG))
    assert engine.ended.wait(LONG) and wait_until(lambda: places.taken == 0) and not sent
