"""The OpenAI-compatible server: what OpenAI's clients send and read, over an engine of the tests."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.api.conftest import Serve
from tests.kit import coroutines
from tests.kit.fake_engine import FakeEngine
from tests.kit.pictures import png
from tests.kit.waiting import wait_until
from vlm_demo.api import access, request_bodies
from vlm_demo.api.access import Access
from vlm_demo.contracts import Answer, StageEvent, TokenEvent
from vlm_demo.contracts.checks import NAMES
from vlm_demo.contracts.engine import Event, Request
from vlm_demo.contracts.events import Alternative, DecodeFacts
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import Stopped, VlmDemoError

ANSWER = "a large purple star and a small red square"


def user(text: str, *uris: str) -> dict[str, Any]:
    pictures = [{"type": "image_url", "image_url": {"url": uri, "detail": "auto"}} for uri in uris]
    return {"role": "user", "content": [{"type": "text", "text": text}, *pictures]}


def body(*messages: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"model": "llava", "messages": list(messages), **settings}


def ask(client: TestClient, *messages: dict[str, Any], **settings: Any) -> Any:
    return client.post("/v1/chat/completions", json=body(*messages, **settings))


def chunks(response: Any) -> list[dict[str, Any]]:
    """The objects of a stream, which must end as OpenAI's do."""
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")
    *lines, end, rest = response.text.split("\n\n")
    assert end == "data: [DONE]" and rest == ""
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def text_of(sent: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content", "") for chunk in sent for choice in chunk["choices"])


class Spelling(FakeEngine):
    """Writes the texts of ``pieces`` as its tokens, ends before stop texts and at the limit as the pipeline does."""

    pieces: tuple[str, ...] = ()

    def stream(self, request: Request) -> Iterator[Event]:
        *_, answer = super().stream(request)
        model, tokens, text, stops = answer.tokens[0], [], "", []
        for piece in self.pieces[: request.max_new_tokens]:
            tokens.append(replace(model, text=piece))
            text += piece
            stops = [at for at in map(text.find, request.sampling.stop) if at >= 0]
            before = len(text) - len(piece)
            text = text[: min(stops)] if stops else text
            yield TokenEvent(tokens[-1], text)
            if stops:
                kept = text[before:]
                tokens = [*tokens[:-1], replace(model, text=kept)] if kept else [replace(model, text=text)]
                break
        yield StageEvent("decode", 0.1, DecodeFacts(len(tokens), 0))
        full = not stops and len(tokens) >= (request.max_new_tokens or math.inf)
        yield replace(answer, text=text, tokens=tuple(tokens), words=(), full=full)


def spelling(*pieces: str) -> Spelling:
    engine = Spelling()
    engine.pieces = pieces
    return engine


class TestModels:
    def test_the_loaded_one_is_listed_and_found_by_name(self, serve: Serve) -> None:
        client = serve(FakeEngine(name="owner/model"))
        listed = client.get("/v1/models").json()
        assert listed["object"] == "list" and [model["id"] for model in listed["data"]] == ["owner/model"]
        assert client.get("/v1/models/owner/model").json() == listed["data"][0]

    def test_others_are_not_found(self, serve: Serve, uri: str) -> None:
        client = serve()
        for response in (client.get("/v1/models/gpt-4o"), ask(client, user("What?", uri), model="gpt-4o")):
            assert response.status_code == 404 and response.json()["error"]["code"] == "model_not_found"
            assert "llava" in response.json()["error"]["message"]

    def test_the_path_of_a_folder_that_is_being_loaded_stays_private(self, serve: Serve, tmp_path: Any) -> None:
        folder = tmp_path / "private" / "own"
        folder.mkdir(parents=True)
        client = serve()
        client.server.service = ModelRegistry(None, lambda *_: FakeEngine(), str(folder))
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["own"]

    def test_a_model_that_was_exchanged_while_waiting_does_not_answer(self, serve: Serve, uri: str) -> None:
        client = serve()
        client.server.service._engine = FakeEngine(name="another")
        assert ask(client, user("What?", uri)).status_code == 404


class TestAnswers:
    def test_one_answer(self, serve: Serve, uri: str) -> None:
        engine = FakeEngine()
        given = ask(serve(engine), user("What is it?", uri)).json()
        (choice,) = given["choices"]
        assert given["object"] == "chat.completion" and given["model"] == "llava"
        assert choice["message"] == {"role": "assistant", "content": ANSWER, "refusal": None}
        assert choice["finish_reason"] == "stop" and choice["logprobs"] is None
        (request,) = engine.requests
        assert request["question"] == "What is it?" and request["images"] == (png(),)
        assert request["max_new_tokens"] == 256 and not request["sampling"].draws

    def test_roles_turns_and_several_pictures(self, serve: Serve, uri: str) -> None:
        engine = FakeEngine()
        blue = f"data:image/png;base64,{base64.b64encode(png('blue')).decode()}"
        conversation = (
            {"role": "developer", "content": "Be brief."},
            user("What is it?", uri, blue),
            {"role": "assistant", "content": "A star.", "refusal": None, "tool_calls": None, "audio": None},
            user("And this?", blue),
        )
        assert ask(serve(engine), *conversation).status_code == 200
        (request,) = engine.requests
        assert request["system"] == "Be brief." and request["images"] == (png("blue"),)
        ((question, answer, pictures),) = [(t.question, t.answer, t.images) for t in request["history"]]
        assert (question, answer, pictures) == ("What is it?", "A star.", (png(), png("blue")))

    def test_settings_reach_the_engine(self, serve: Serve, uri: str) -> None:
        engine = FakeEngine()
        settings = {"temperature": 0.7, "top_p": 0.9, "seed": 3, "stop": "\n", "max_completion_tokens": 5, "top_k": 9}
        neutral = {"n": 1, "tools": [], "presence_penalty": 0.0, "response_format": {"type": "text"}, "user": "x"}
        assert ask(serve(engine), user("What?", uri), **settings, **neutral).status_code == 200
        (request,) = engine.requests
        sampling = request["sampling"]
        assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed) == (0.7, 0.9, 9, 3)
        assert sampling.stop == ("\n",) and request["max_new_tokens"] == 5

    def test_usage_counts_image_tokens_and_remembered_ones(self, serve: Serve, uri: str) -> None:
        class Remembering(FakeEngine):
            def stream(self, request: Request) -> Iterator[Event]:
                for event in super().stream(request):
                    known = getattr(event, "name", "") == "prefill"
                    yield replace(event, facts=replace(event.facts, cached=150)) if known else event

        given = ask(serve(Remembering()), user("What is it?", uri)).json()["usage"]
        assert given["prompt_tokens_details"] == {"cached_tokens": 150, "image_tokens": 196}
        assert given["prompt_tokens"] == 2 + 196 + 3 + 1 and given["completion_tokens"] == len(ANSWER.split())
        assert given["total_tokens"] == given["prompt_tokens"] + given["completion_tokens"]

    def test_logprobs_are_the_engines(self, serve: Serve, uri: str) -> None:
        (choice,) = ask(serve(), user("What?", uri), logprobs=True, top_logprobs=0).json()["choices"]
        tokens = choice["logprobs"]["content"]
        assert "".join(token["token"] for token in tokens) == ANSWER
        assert all(math.exp(token["logprob"]) == pytest.approx(0.93) for token in tokens)
        assert bytes(tokens[1]["bytes"]) == b" large" and tokens[1]["top_logprobs"] == []

    def test_an_answer_that_fills_its_limit_says_so(self, serve: Serve, uri: str) -> None:
        client = serve(spelling("a", " b", " c"))
        for limit, reason in ((2, "length"), (3, "length"), (4, "stop")):
            (choice,) = ask(client, user("What?", uri), max_tokens=limit).json()["choices"]
            assert choice["finish_reason"] == reason and len(choice["message"]["content"]) == 2 * min(limit, 3) - 1

    @pytest.mark.parametrize("stream", [False, True])
    def test_an_answer_that_a_stop_text_ends_in_its_last_token_is_whole(
        self, serve: Serve, uri: str, stream: bool
    ) -> None:
        client = serve(spelling("a", " b", " cEND"))
        response = ask(client, user("What?", uri), max_tokens=3, stop="END", stream=stream)
        last = chunks(response)[-1] if stream else response.json()
        assert last["choices"][0]["finish_reason"] == "stop"

    def test_the_extension_gives_maps_and_grounding(self, serve: Serve, uri: str) -> None:
        wishes = {"heatmaps": ["star", "dragon"], "grounding": True, "ocr": True, "evidence_only": True}
        engine = FakeEngine()
        given = ask(serve(engine), user("What?", uri), vlm_demo=wishes).json()
        extension = given["vlm_demo"]
        star, dragon = extension["heatmaps"]
        drawn = Image.open(io.BytesIO(base64.b64decode(star["png"].partition(",")[2])))
        *_, answer = FakeEngine().stream(Request((png(),), "What?", ocr=True))
        expected = answer.heatmap("star") * 255
        assert drawn.size == (30, 20) and np.abs(np.asarray(drawn) - expected).max() <= 0.5
        assert dragon["png"] is None and dragon["problem"]
        assert (
            extension["grounding"]["level"] == "weak"
            and extension["ocr"] == "TOTAL 12.50"
            and extension["seconds"]["encoder"] > 0
        )
        assert engine.requests[0]["ocr"] and engine.requests[0]["evidence_only"]
        heatmaps = ask(serve(engine), user("What?", uri), vlm_demo={"heatmaps": True}).json()["vlm_demo"]["heatmaps"]
        assert [entry["word"] for entry in heatmaps] == ["large", "purple", "star", "small", "red", "square"]
        assert "vlm_demo" not in ask(serve(engine), user("What?", uri)).json()

    @pytest.mark.parametrize("stream", [False, True])
    def test_maps_are_packed_in_no_thread_that_others_wait_for(
        self, serve: Serve, uri: str, stream: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save, in_loop = Image.Image.save, []

        def saved(*arguments: Any, **named: Any) -> None:
            in_loop.append(asyncio._get_running_loop() is not None)
            save(*arguments, **named)

        monkeypatch.setattr(Image.Image, "save", saved)
        assert ask(serve(), user("What?", uri), vlm_demo={"heatmaps": True}, stream=stream).status_code == 200
        assert in_loop == [False] * 6


class TestStreams:
    def test_words_come_in_chunks(self, serve: Serve, uri: str) -> None:
        sent = chunks(ask(serve(), user("What?", uri), stream=True, stream_options={"include_usage": True}))
        assert sent[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert text_of(sent) == ANSWER and len(sent) == 1 + len(ANSWER.split()) + 2
        reasons = [choice["finish_reason"] for chunk in sent for choice in chunk["choices"]]
        assert reasons == [None] * (len(reasons) - 1) + ["stop"]
        assert sent[-1]["choices"] == [] and sent[-1]["usage"]["completion_tokens"] == len(ANSWER.split())
        assert len({chunk["id"] for chunk in sent}) == 1
        assert {chunk["object"] for chunk in sent} == {"chat.completion.chunk"}

    def test_no_text_to_stop_before_is_ever_sent(self, serve: Serve, uri: str) -> None:
        client = serve(spelling("One", " EN", "DED", " E", "N", "D now"))
        plain = ask(client, user("What?", uri), stop=["END now", "END?"]).json()["choices"][0]
        sent = chunks(ask(client, user("What?", uri), stop=["END now", "END?"], stream=True, logprobs=True))
        assert plain["message"]["content"] == text_of(sent) == "One ENDED "
        assert sent[-1]["choices"][0]["finish_reason"] == plain["finish_reason"] == "stop"

    def test_what_only_looked_like_a_stop_text_comes_at_the_end(self, serve: Serve, uri: str) -> None:
        sent = chunks(ask(serve(spelling("a", " E", "N")), user("What?", uri), stop="END", stream=True, logprobs=True))
        assert text_of(sent) == "a EN"
        logprobs = [c["choices"][0]["logprobs"] for c in sent]
        assert "".join(token["token"] for part in logprobs if part for token in part["content"]) == "a EN"

    def test_half_a_character_waits_for_its_other_bytes(self, serve: Serve, uri: str) -> None:
        sent = chunks(ask(serve(spelling("a ", "", "€", " b")), user("What?", uri), stream=True))
        assert text_of(sent) == "a € b"

    def test_what_fails_before_the_first_word_has_a_status(self, serve: Serve) -> None:
        damaged = f"data:image/png;base64,{base64.b64encode(b'no picture').decode()}"
        response = ask(serve(), user("What?", damaged), stream=True)
        assert response.status_code == 400 and "not a picture" in response.json()["error"]["message"]

    def test_what_fails_later_is_reported_in_the_stream(self, serve: Serve, uri: str) -> None:
        class Failing(FakeEngine):
            def stream(self, request: Request) -> Iterator[Event]:
                for event in super().stream(request):
                    if isinstance(event, Answer):
                        raise VlmDemoError("It is out of memory: use a smaller picture.")
                    yield event

        *sent, last = chunks(ask(serve(Failing()), user("What?", uri), stream=True))
        assert text_of(sent) == ANSWER
        assert last["error"]["message"] == "It is out of memory: use a smaller picture."


USER = {"role": "user", "content": "What is it?"}
BAD: list[tuple[Any, str]] = [
    (b"", "no JSON"),
    (b"{", "no JSON"),
    (b"[" * 100_000, "no JSON"),
    (b"\xff\xfe{}", "no JSON"),
    (b"[1]", "no JSON object"),
    (b"null", "no JSON object"),
    (b'{"model": "llava", "messages": [{"role": "user", "content": "\\ud800"}]}', "no JSON"),
    ({"messages": [USER]}, "model is missing"),
    ({"model": 5, "messages": [USER]}, "model can't be used"),
    ({"model": "llava"}, "messages is missing"),
    (body(), "messages can't be used"),
    (body(USER, role="x"), "role is not known here"),
    (body({"role": "user"}), "messages[0].content is missing"),
    (body({"role": "user", "content": None}), "a text, or a list of parts"),
    (body({"role": "tool", "content": "x"}), "messages[0].role can't be used"),
    (body({"role": "user", "content": [{"type": "input_audio"}]}), "messages[0].content[0] can't be used"),
    (body({"role": "user", "content": [{"type": "text"}]}), "messages[0].content[0].text is missing"),
    (body({"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}), "content[0].image_url can't"),
    (body(user("What?", "/etc/passwd")), "data URIs"),
    (body(user("What?", "file:///etc/passwd")), "data URIs"),
    (body(user("What?", "http://169.254.169.254/latest")), "is not fetched"),
    (body(user("What?", "data:image/png;base64,%%%")), "damaged"),
    (body(user("What?", "data:image/png;base64,")), "empty"),
    (body(user("What?", *["data:image/png;base64,AAAA"] * 17)), "more than 16 pictures"),
    (body(USER, USER), "take turns"),
    (body(USER, {"role": "assistant", "content": "x"}), "last message must be the user's"),
    (body({"role": "user", "content": "  "}), "question is empty"),
    (body(USER, temperature="0.5"), "temperature can't be used"),
    (body(USER, temperature=-1), "temperature can't be"),
    (body(USER, temperature=3), "from 0 to 2"),
    (b'{"model": "llava", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}', "temperature"),
    (body(USER, top_p=0), "top_p can't be"),
    (body(USER, seed=-1), "seed can't be"),
    (body(USER, seed=10**60), "seed can't be"),
    (body(USER, seed=True), "seed can't be used"),
    (body(USER, max_tokens=0), "max_tokens can't be used"),
    (body(USER, max_tokens=2.5), "max_tokens can't be used"),
    (body(USER, stop=[1]), "stop[0] can't be used"),
    (body(USER, stop=[""]), "at least one character"),
    (body(USER, stop=["a"] * 5), "stop can't be used"),
    (body(USER, n=2), "one answer"),
    (body(USER, logprobs=True, top_logprobs=5), "tells no other tokens"),
    (body(USER, logprobs=True, top_logprobs=21), "top_logprobs can't be used"),
    (body(USER, top_logprobs=2), "send logprobs as true"),
    (body(USER, response_format={"type": "json_object"}), "can't be held to a format"),
    (body(USER, response_format={"type": "xml"}), 'should have the type "text", "json_object" or "json_schema"'),
    (body(USER, response_format={"type": "json_schema"}), "response_format.json_schema is missing"),
    (
        body(USER, response_format={"type": "json_schema", "json_schema": {"name": "x"}}),
        "json_schema.schema is missing",
    ),
    (body(USER, tools=[{"type": "function"}]), "no tools"),
    (body(USER, frequency_penalty=1), "repetition_penalty"),
    (body(USER, vlm_demo={"heatmaps": 3}), "true, or a list of words"),
    (body(USER, vlm_demo={"checks": True}), "vlm_demo.checks is not known"),
]


class TestRefusals:
    @pytest.mark.parametrize(("sent", "sentence"), BAD)
    def test_a_bad_body_is_refused_in_one_sentence(self, serve: Serve, sent: Any, sentence: str) -> None:
        class Strict(FakeEngine):
            def stream(self, request: Request) -> Iterator[Event]:
                if request.images == (b"",):
                    from vlm_demo.images.open import open_image

                    open_image(b"")
                return super().stream(request)

        content = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        response = serve(Strict()).post("/v1/chat/completions", content=content, headers=headers)
        assert response.status_code == 400, response.text
        (error,) = response.json().values()
        assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
        assert sentence in error["message"] and error["message"].endswith(".") and "\n" not in error["message"]
        assert len(error["message"]) < 300 and "Traceback" not in response.text

    def test_nothing_that_was_sent_makes_a_long_error(self, serve: Serve) -> None:
        message = ask(serve(), USER, **{"x" * 9999: 1}).json()["error"]["message"]
        assert len(message) <= 400

    def test_forms_of_other_sites_are_refused(self, serve: Serve) -> None:
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            headers = {"Content-Type": kind}
            content = json.dumps(body(USER)).encode()
            assert serve().post("/v1/chat/completions", content=content, headers=headers).status_code == 415

    def test_too_large_a_body_is_not_read(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(request_bodies, "BIGGEST_BODY", 100)
        response = ask(serve(), {"role": "user", "content": "x" * 200})
        assert response.status_code == 413 and response.json()["error"]["message"]

    def test_addresses_and_methods_that_are_not_served(self, serve: Serve) -> None:
        client = serve()
        assert client.get("/v1/embeddings").status_code == 404
        assert client.get("/v1/chat/completions").status_code == 405
        assert "POST /v1/chat/completions" in client.post("/v1/completions").json()["error"]["message"]

    @pytest.mark.parametrize("before", ["", "/glass"])
    def test_below_a_proxy_s_path_taken_off_by_it_or_not(self, serve: Serve, before: str) -> None:
        below = TestClient(serve().app, root_path="/glass")
        assert below.get(f"{before}/v1/models").json()["data"][0]["id"] == "llava"
        assert below.get(f"{before}/v1/models/llava").json()["id"] == "llava"
        assert below.get(f"{before}/v1/embeddings").status_code == 404

    def test_an_unexpected_error_is_one_sentence_and_the_log_has_no_content(self, serve: Serve, caplog: Any) -> None:
        class Broken(FakeEngine):
            def stream(self, request: Request) -> Iterator[Event]:
                raise RuntimeError(f"about {request.question}")
                yield

        caplog.set_level(logging.DEBUG)
        for stream in (False, True):
            response = ask(serve(Broken()), {"role": "user", "content": "a secret"}, stream=stream)
            assert response.status_code == 500 and "secret" not in response.text
        assert "RuntimeError" in caplog.text and "secret" not in caplog.text

    def test_a_model_that_could_not_be_loaded(self, serve: Serve) -> None:
        client = serve()
        client.server.service._engine, client.server.service._problem = None, "There is no such model: choose another."
        response = ask(client, USER)
        assert response.status_code == 503 and response.json()["error"]["message"].startswith("There is no such model")


class TestKey:
    @pytest.mark.parametrize(
        "sent", [None, "Bearer ", "Bearer wrong", "Basic pässword", "pässword", "Bearer pässword1"]
    )
    def test_without_the_page_s_password_nothing_is_revealed(self, serve: Serve, sent: str | None) -> None:
        client = serve(access=Access("pässword"))
        headers = {} if sent is None else {"Authorization": sent.encode()}
        for response in (
            client.get("/v1/models", headers=headers),
            client.get("/v1/models/llava", headers=headers),
            client.post("/v1/chat/completions", json=body(USER), headers=headers),
        ):
            assert response.status_code == 401 and response.json()["error"]["code"] == "invalid_api_key"
            assert "llava" not in response.text

    def test_with_it_requests_are_answered(self, serve: Serve, uri: str) -> None:
        client = serve(access=Access("pässword"))
        headers = {"Authorization": "Bearer pässword".encode()}
        assert client.get("/v1/models", headers=headers).status_code == 200
        sent = body(user("What?", uri))
        assert client.post("/v1/chat/completions", json=sent, headers=headers).status_code == 200


class Held(FakeEngine):
    """Blocks in the middle of its answer until it is released, or cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.started, self.ended = threading.Event(), threading.Event(), threading.Event()

    def stream(self, request: Request) -> Iterator[Event]:
        try:
            for event in super().stream(request):
                self.started.set()
                while not self.go.wait(0.01):
                    if request.cancelled():
                        raise Stopped("Stopped.")
                yield event
        finally:
            self.ended.set()


class TestQueue:
    def test_too_many_are_sent_away_and_places_come_back(
        self, serve: Serve, uri: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(access, "MOST_WAITING", 1)
        engine = Held()
        client = serve(engine)
        answers: list[Any] = []
        first = threading.Thread(target=lambda: answers.append(ask(client, user("What?", uri))))
        first.start()
        assert engine.started.wait(20)
        refused = ask(client, user("What?", uri))
        assert refused.status_code == 429 and refused.headers["retry-after"]
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        engine.go.set()
        first.join(20)
        assert answers[0].status_code == 200 and wait_until(lambda: client.server.places.taken == 0)
        assert ask(client, user("What?", uri)).status_code == 200

    @pytest.mark.parametrize("bad", [{"temperature": 9}, {"model": "other"}])
    def test_what_is_refused_takes_no_place(self, serve: Serve, bad: dict[str, Any]) -> None:
        client = serve()
        assert ask(client, USER, **bad).status_code in (400, 404) and client.server.places.taken == 0

    @pytest.mark.parametrize("stream", [False, True])
    def test_computing_ends_when_nobody_waits_any_longer(self, serve: Serve, uri: str, stream: bool) -> None:
        engine = Held()
        app = serve(engine).app
        content = json.dumps(body(user("What?", uri), stream=stream)).encode()
        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
        scope |= {"query_string": b"", "root_path": "", "asgi": {"version": "3.0"}}
        incoming = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if incoming:
                return incoming.pop()
            await asyncio.to_thread(engine.started.wait, 20)
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            pass

        coroutines.run(app(scope, receive, send))
        assert engine.ended.wait(20) and not engine.go.is_set()

    def test_what_was_seen_is_forgotten_some_time_after_the_last_request(self, serve: Serve, uri: str) -> None:
        engine = FakeEngine()
        client = serve(engine)
        ask(client, user("What?", uri))
        timer = client.server.places.forgetting
        assert timer.interval == access.REMEMBERED and not engine.forgotten
        timer.cancel()
        timer.function(*timer.args)
        assert engine.forgotten == [engine.requests[0]["visitor"]] and engine.forgotten[0]


class Choosing(FakeEngine):
    """Gives alternative tokens, and writes JSON where the answer has to follow a schema."""

    def __init__(self) -> None:
        super().__init__(answer='{"colour":"red"}')
        self.capabilities = replace(self.capabilities, alternatives=True, holds_json=True)

    def stream(self, request: Request) -> Iterator[Event]:
        others = (Alternative(" star", 3, -0.1), Alternative("\ufffd", 4, -2.5), Alternative("</s>", 5, -math.inf))
        for event in super().stream(request):
            if isinstance(event, TokenEvent):
                event = replace(event, token=replace(event.token, alternatives=others))
            elif isinstance(event, Answer):
                event = replace(event, tokens=tuple(replace(token, alternatives=others) for token in event.tokens))
            yield event


class TestChoosing:
    def test_top_logprobs_come_with_each_token(self, serve: Serve, uri: str) -> None:
        engine = Choosing()
        settings = {"logprobs": True, "top_logprobs": 3}
        (choice,) = ask(serve(engine), user("What?", uri), **settings).json()["choices"]
        expected = [
            {"token": " star", "logprob": -0.1, "bytes": list(b" star")},
            {"token": "\ufffd", "logprob": -2.5, "bytes": None},
            {"token": "</s>", "logprob": -9999.0, "bytes": list(b"</s>")},
        ]
        assert [token["top_logprobs"] for token in choice["logprobs"]["content"]] == [expected]
        assert engine.requests[-1]["sampling"].alternatives == 3
        sent = chunks(ask(serve(engine), user("What?", uri), stream=True, **settings))
        logprobs = [chunk["choices"][0]["logprobs"] for chunk in sent if chunk["choices"][0]["logprobs"]]
        assert logprobs[0]["content"][0]["top_logprobs"] == expected

    @pytest.mark.parametrize(
        ("wanted", "schema"),
        [
            ({"type": "text"}, None),
            ({"type": "json_object"}, {"type": "object"}),
            (
                {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "array"}}},
                {"type": "array"},
            ),
        ],
    )
    def test_the_engine_gets_the_schema_of_the_answer(self, serve: Serve, uri: str, wanted: Any, schema: Any) -> None:
        engine = Choosing()
        assert ask(serve(engine), user("What?", uri), response_format=wanted).status_code == 200
        given = engine.requests[-1]["sampling"].schema
        assert (given and json.loads(given)) == schema

    def test_the_checklist_comes_as_an_extension(self, serve: Serve, uri: str) -> None:
        checklist = ask(serve(), user("What?", uri), vlm_demo={"checklist": True}).json()["vlm_demo"]["checklist"]
        assert [check["name"] for check in checklist["checks"]] == list(NAMES) and checklist["headline"]
        assert ask(serve(), user("What?", uri), vlm_demo={}).json()["vlm_demo"]["checklist"] is None
