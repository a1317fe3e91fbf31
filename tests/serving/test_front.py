"""The front over replicas in this process: real routes, the tests' engine, and deaths on demand."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message

from tests.kit import coroutines
from tests.kit.fake_engine import FakeEngine
from tests.kit.pictures import png
from vlm_demo.api.access import Access, Places
from vlm_demo.api.openai_server import OpenAiServer
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.serving import in_process
from vlm_demo.serving.admission import Admission
from vlm_demo.serving.front import BEGUN, DIED, FACTS, ForwardedRequest, Front, ReplicaDied, TooMany, newest
from vlm_demo.serving.metrics import Metrics
from vlm_demo.serving.picture_key import picture_key

ANSWER = "a large purple star and a small red square"


@dataclass
class LocalReplicas:
    """One replica in this process. ``deaths``: after how many messages it dies, request by request."""

    deaths: list[int] = field(default_factory=list)
    full: bool = False
    late: bool = False  # its facts come some time after the answer
    keys: list[str | None] = field(default_factory=list)
    requests: list[ForwardedRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        service = ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")
        self.application = Starlette(routes=OpenAiServer(service, Access(), Places(service)).routes())

    async def ask(self, request: ForwardedRequest) -> AsyncGenerator[Message]:
        self.requests.append(request)
        if self.full:
            raise TooMany
        left = self.deaths.pop(0) if self.deaths else 10**6
        yield {"type": BEGUN}
        answer = in_process.answered(self.application, request.method, request.path, request.headers, request.body)
        async with aclosing(answer) as messages:
            async for message in messages:
                if not left:
                    raise ReplicaDied(DIED)
                left -= 1
                yield message
        if self.late:
            await asyncio.sleep(0.05)
        yield {"type": FACTS, "facts": {"answers": 1, "hits": 1, "prompt": 200, "known": 190, "written": 9}}


@pytest.fixture
def uri() -> str:
    """A small red picture."""
    return f"data:image/png;base64,{base64.b64encode(png()).decode()}"


def front_of(replicas: LocalReplicas | None, places: int = 4, key: str | None = None) -> tuple[Front, TestClient]:
    front = Front(Access(key), Admission(places), Metrics("f1"))
    front.replicas = replicas
    return front, TestClient(front.application())


def question(uri: str, **settings: Any) -> dict[str, Any]:
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": uri}}]
    return {"model": "llava", "messages": [{"role": "user", "content": parts}], **settings}


def text_of(streamed: str) -> str:
    lines = [line.removeprefix("data: ") for line in streamed.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk.get("choices", ()))


def ask(client: TestClient, uri: str, **settings: Any) -> Any:
    return client.post("/v1/chat/completions", json=question(uri, **settings))


def test_whole_and_streamed_answers_pass_and_are_counted(uri: str) -> None:
    replicas = LocalReplicas()
    front, client = front_of(replicas)
    whole, streamed = ask(client, uri), ask(client, uri, stream=True)
    assert whole.json()["choices"][0]["message"]["content"] == ANSWER == text_of(streamed.text)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert client.get("/v1/models").json()["data"][0]["id"] == "llava"
    body = json.dumps(question(uri)).encode()
    assert [request.key for request in replicas.requests] == [picture_key(body)] * 2 + [None]
    numbers = client.get("/metrics").text
    assert 'vlm_demo_requests_total{front="f1",status="200"} 3' in numbers
    assert 'vlm_demo_first_token_seconds_count{front="f1"} 1' in numbers
    assert 'vlm_demo_tokens_total{front="f1",kind="known"} 570' in numbers
    assert front.admission.open == front.working == front.open_requests(replicas) == 0


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_whose_client_leaves_at_its_end_is_counted_as_whole(uri: str, stream: bool) -> None:
    front, client = front_of(LocalReplicas(late=True))
    assert ask(client, uri, stream=stream).status_code == 200
    assert front.metrics.statuses == {200: 1} and front.metrics.facts.answers == 1


def test_errors_of_a_replica_pass_as_they_are(uri: str) -> None:
    _, client = front_of(LocalReplicas())
    wrong = client.post("/v1/chat/completions", json=question(uri) | {"model": "other"})
    assert wrong.status_code == 404 and "llava" in wrong.json()["error"]["message"]
    assert client.get("/v1/nothing").status_code == 404 and client.delete("/v1/models").status_code == 405
    assert client.post("/v1/chat/completions", content=b"x", headers={"content-type": "text/plain"}).status_code == 415


def test_a_full_front_says_when_to_try_again(uri: str) -> None:
    front, client = front_of(LocalReplicas(), places=1)
    with front.admission.place():
        refused = ask(client, uri)
    assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
    assert "try again in" in refused.json()["error"]["message"]
    assert ask(client, uri).status_code == 200


def test_full_replicas_are_reported_in_the_same_words(uri: str) -> None:
    _, client = front_of(LocalReplicas(full=True))
    refused = ask(client, uri)
    assert refused.status_code == 503 and refused.headers["retry-after"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_has_not_begun_is_asked_for_again_where_its_replica_dies(uri: str, stream: bool) -> None:
    replicas = LocalReplicas(deaths=[1])
    _, client = front_of(replicas)
    got = ask(client, uri, stream=stream)
    assert got.status_code == 200 and len(replicas.requests) == 2
    assert (text_of(got.text) if stream else got.json()["choices"][0]["message"]["content"]) == ANSWER


def test_a_stream_that_has_begun_ends_with_one_sentence_where_its_replica_dies(uri: str) -> None:
    front, client = front_of(replicas := LocalReplicas(deaths=[4]))
    got = ask(client, uri, stream=True)
    assert len(replicas.requests) == 1 and ANSWER.startswith(text_of(got.text)) and text_of(got.text)
    assert json.loads(got.text.split("\n\n")[-3].removeprefix("data: "))["error"]["message"] == DIED
    assert front.admission.open == front.working == 0
    assert 'vlm_demo_requests_total{front="f1",status="503"} 1' in client.get("/metrics").text


def test_deaths_one_after_the_other_are_reported(uri: str) -> None:
    _, client = front_of(replicas := LocalReplicas(deaths=[0, 0, 0]))
    got = ask(client, uri)
    assert got.status_code == 503 and got.json()["error"]["message"] == DIED and len(replicas.requests) == 2


def test_there_may_be_no_model_yet(uri: str) -> None:
    front, client = front_of(None)
    assert client.get("/healthz").status_code == 503 and ask(client, uri).status_code == 503
    front.replicas = LocalReplicas()
    assert client.get("/healthz").status_code == 200
    front.admission.close()
    assert client.get("/healthz").status_code == 503


def test_the_key_is_asked_for_before_anything_is_read(uri: str) -> None:
    replicas = LocalReplicas()
    _, client = front_of(replicas, key="secret")
    assert ask(client, uri).status_code == 401 and client.get("/metrics").status_code == 401
    headers = {"Authorization": "Bearer secret"}
    assert client.get("/metrics", headers=headers).status_code == 200
    assert client.post("/v1/chat/completions", json=question(uri), headers=headers).status_code == 200
    assert not any(name == b"authorization" for request in replicas.requests for name, _ in request.headers)


def test_work_ends_where_nobody_waits_for_the_answer(uri: str) -> None:
    """The client disconnects after the first message; the replica's generator is closed."""
    closed = asyncio.Event()

    class Endless(LocalReplicas):
        async def ask(self, request: ForwardedRequest) -> AsyncGenerator[Message]:
            try:
                yield {"type": BEGUN}
                yield {"type": "http.response.start", "status": 200, "headers": []}
                while True:
                    yield {"type": "http.response.body", "body": b"x", "more_body": True}
                    await asyncio.sleep(0)
            finally:
                closed.set()

    async def visit() -> None:
        front, _ = front_of(Endless())
        body, sent = json.dumps(question(uri)).encode(), asyncio.Event()
        incoming = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if incoming:
                return incoming.pop()
            await sent.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.set()

        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"",
                 "headers": [(b"content-type", b"application/json")]}  # fmt: skip
        await front.application()(scope, receive, send)
        assert closed.is_set() and front.admission.open == front.working == 0

    coroutines.run(visit())


def test_what_has_begun_stays_with_its_model_when_another_takes_over(uri: str) -> None:
    old, new = LocalReplicas(), LocalReplicas()

    class Switching(LocalReplicas):
        async def ask(self, request: ForwardedRequest) -> AsyncGenerator[Message]:
            front.replicas = new
            assert front.open_requests(self) == 1
            async for message in old.ask(request):
                yield message

    front, client = front_of(first := Switching())
    assert ask(client, uri).status_code == 200 and ask(client, uri).status_code == 200
    assert len(old.requests) == len(new.requests) == 1 and front.open_requests(first) == 0


def test_the_engine_that_was_deployed_last_of_those_that_run_is_in_service() -> None:
    assert newest({"front": "RUNNING", "engine-9": "RUNNING", "engine-10": "RUNNING"}) == "engine-10"
    assert newest({"engine-1": "RUNNING", "engine-2": "DEPLOYING"}) == "engine-1"
    ill = {"engine-1": "UNHEALTHY", "engine-2": "DEPLOYING"}
    assert newest(ill) is None and newest(ill, "engine-1") == "engine-1"
    assert newest(ill | {"engine-2": "RUNNING"}, "engine-1") == "engine-2"
    assert newest({"engine-1": "DELETING"}, "engine-1") is None
    assert newest({"engine-x": "RUNNING", "front": "RUNNING"}) is None
