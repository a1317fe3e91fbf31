"""The APIs over a remote server's model: its text passes through, and what can be explained locally is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.conftest import Serve
from tests.api.test_openai_server import ask, chunks, text_of, user
from tests.kit.chat_server import SAID, chat_server
from vlm_demo import Pipeline
from vlm_demo.engines.local import LocalEngine
from vlm_demo.engines.remote import NO_MAPS, RemoteEngine
from vlm_demo.engines.remote_server import server_at

WANTED = {"heatmaps": ["red"], "grounding": True, "checklist": True}


@pytest.fixture(params=["sent", "ignored"])
def alone(request: pytest.FixtureRequest) -> Iterator[tuple[RemoteEngine, bool]]:
    with chat_server(logprobs=request.param) as server:
        yield RemoteEngine(server_at(server.address), "llava"), request.param == "sent"


def test_a_remote_server_answers_and_what_is_unavailable_is_named(
    serve: Serve, uri: str, alone: tuple[RemoteEngine, bool]
) -> None:
    engine, has_logprobs = alone
    client = serve(engine)
    answer = ask(client, user("What?", uri), vlm_demo=WANTED, logprobs=True).json()
    (choice,), extension = answer["choices"], answer["vlm_demo"]
    assert choice["message"]["content"] == "a red square"
    assert (choice["logprobs"] is not None) == has_logprobs
    assert extension["replay"] == {"by": None, "agreement": None, "problem": NO_MAPS}
    assert extension["heatmaps"][0]["problem"] == NO_MAPS == extension["grounding_problem"]
    assert len(extension["checklist"]["checks"]) == 5
    streamed = chunks(ask(client, user("What?", uri), stream=True, logprobs=True))
    assert text_of(streamed) == "a red square"
    assert any(choice["logprobs"] for chunk in streamed for choice in chunk["choices"]) == has_logprobs
    refused = ask(client, user("What?", uri), logprobs=True, top_logprobs=2)
    assert refused.status_code == 400 and "tells no other tokens" in refused.json()["error"]["message"]


def test_a_checkpoint_here_explains_it(serve: Serve, uri: str, pipe: Pipeline) -> None:
    with chat_server() as server:
        client = serve(RemoteEngine(server_at(server.address), "llava", LocalEngine(pipe)))
        answer = ask(client, user("What?", uri), vlm_demo=WANTED, logprobs=True).json()
    extension = answer["vlm_demo"]
    assert extension["replay"]["by"] == pipe.name and 0 <= extension["replay"]["agreement"] <= 1
    assert extension["heatmaps"][0]["png"].startswith("data:image/png") and extension["grounding"]["level"]
    assert [token["token"] for token in answer["choices"][0]["logprobs"]["content"]] == list(SAID)  # as it was written


def test_an_answer_that_the_server_cut_is_not_told_as_whole(serve: Serve, uri: str) -> None:
    """Whatever number of tokens was asked for: a server may have a limit of its own."""
    with chat_server(tokens=("a",) * 300) as server:
        client = serve(RemoteEngine(server_at(server.address), "llava"))
        for settings in ({"max_tokens": 2}, {}):
            answer = ask(client, user("What?", uri), **settings).json()
            assert answer["choices"][0]["finish_reason"] == "length"
        streamed = chunks(ask(client, user("What?", uri), stream=True, max_tokens=2))
        assert [choice["finish_reason"] for chunk in streamed for choice in chunk["choices"]][-1] == "length"
    with chat_server() as server:
        answer = ask(serve(RemoteEngine(server_at(server.address), "llava")), user("What?", uri)).json()
        assert answer["choices"][0]["finish_reason"] == "stop"


def test_an_answer_that_loops_is_told_as_cut(serve: Serve, uri: str) -> None:
    with chat_server(tokens=(" no",) * 200) as server:
        client = serve(RemoteEngine(server_at(server.address), "llava"))
        answer = ask(client, user("What?", uri), vlm_demo={"checklist": True}).json()
        assert answer["choices"][0]["message"]["content"] == " no" and answer["vlm_demo"]["cut"]
        assert answer["choices"][0]["finish_reason"] == "length"


def test_what_the_server_refuses_is_the_clients_error_or_ours(serve: Serve, uri: str) -> None:
    with chat_server(status=413, error={}) as server:
        refused = ask(serve(RemoteEngine(server_at(server.address), "llava")), user("What?", uri))
    assert refused.status_code == 400 and "too long" in refused.json()["error"]["message"]
