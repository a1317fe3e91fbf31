"""A remote server as engine: its requests, each oddity of its responses, and how a checkpoint here replays them."""

from __future__ import annotations

import base64
import io
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.kit.chat_server import PROBABILITY, SAID, ChatServer, chat_server
from tests.kit.engine_conformance import answered, make_request, picture
from tests.kit.waiting import LONG
from vlm_demo import Pipeline
from vlm_demo.contracts import Answer, MapRequest, StageEvent, TokenEvent, Turn
from vlm_demo.contracts.checks import HALLUCINATION
from vlm_demo.contracts.engine import ELSEWHERE, Request
from vlm_demo.contracts.sampling import Sampling
from vlm_demo.engines import live_checks, remote_request
from vlm_demo.engines.connection import Connection, connection_of
from vlm_demo.engines.local import LocalEngine
from vlm_demo.engines.remote import NO_MAPS, RemoteEngine, connect
from vlm_demo.engines.remote_server import KEY_VARIABLE, server_at
from vlm_demo.engines.remote_stream import NotUnderstood, StreamChunk, StreamReader
from vlm_demo.errors import BadQuestion, BadSetting, Stopped, UnsupportedModel, VlmDemoError
from vlm_demo.images import decode
from vlm_demo.stages.prompt import EVIDENCE_RULE

KEY = "sk-very-secret"


def engine_of(server: ChatServer, explainer: LocalEngine | None = None, key: str = "") -> RemoteEngine:
    return RemoteEngine(server_at(server.address, key, silent_seconds=5), "first", explainer)


def answer_of(request: Request | None = None, **odd: Any) -> tuple[Answer, ChatServer]:
    """The answer of a server with these oddities."""
    with chat_server(**odd) as server:
        return answered(engine_of(server), request or make_request())[1], server


def refused(sent_key: str = "", **odd: Any) -> str:
    """The sentence for a server with these oddities."""
    with chat_server(**odd) as server, pytest.raises(VlmDemoError) as caught:
        answered(engine_of(server, key=sent_key), make_request())
    return str(caught.value)


# -- what is sent -----------------------------------------------------------------------------------------------------


def test_pictures_and_turns_are_sent_in_their_order_and_without_loss() -> None:
    one, other = picture("blue", (50, 40)), picture("green", (30, 60))
    history = (Turn("What is it?", "a square", (one,)),)
    _, server = answer_of(make_request(images=(other,), history=history, system="Be brief."))
    system, before, answer, now = server.last_body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert answer == {"role": "assistant", "content": "a square"}
    assert before["content"][-1] == {"type": "text", "text": "What is it?"}
    for message, sent in ((before, one), (now, other)):
        assert [part["type"] for part in message["content"]] == ["image_url", "text"]
        kind, _, coded = message["content"][0]["image_url"]["url"].partition(",")
        assert kind == "data:image/png;base64"
        back = Image.open(io.BytesIO(base64.b64decode(coded)))
        assert np.array_equal(np.asarray(back), np.asarray(sent))


def test_greedy_is_sent_unless_something_else_is_asked() -> None:
    _, server = answer_of()
    sent = server.last_body
    assert sent["temperature"] == 0 and sent["model"] == "first" and sent["stream"] is True and sent["max_tokens"] == 4
    assert not {"top_p", "top_k", "seed", "stop", "repetition_penalty"} & sent.keys()
    _, server = answer_of(make_request(sampling=Sampling(temperature=0.7, top_p=0.9, seed=3, stop=("END",))))
    assert (server.last_body["temperature"], server.last_body["top_p"], server.last_body["seed"]) == (0.7, 0.9, 3)
    assert server.last_body["stop"] == ["END"]
    _, server = answer_of(make_request(sampling=Sampling(top_p=0.9)))
    assert server.last_body["temperature"] == 1


def test_the_evidence_rule_and_the_text_read_go_along_as_in_a_local_prompt(pipe: Pipeline) -> None:
    from vlm_demo.contracts import OcrResult
    from vlm_demo.stages.prompt import ocr_part

    view = pipe.view(picture())
    read = (OcrResult("TOTAL 12.50", (), 0.1),)
    messages = remote_request.messages(make_request(evidence_only=True), [view], read)
    text = messages[-1]["content"][-1]["text"]
    assert text == f"{ocr_part('TOTAL 12.50')}What is in the picture?\n{EVIDENCE_RULE}"
    local = pipe.stages().build_prompt(_conversation_of(make_request(evidence_only=True)), [view], read)
    typed = "".join(run.text for run in local.segments if run.kind in ("ocr", "question", "rule"))
    assert text == typed


def _conversation_of(request: Request) -> Any:
    from vlm_demo.pipeline.inputs import conversation_of

    return conversation_of(request)


@pytest.mark.parametrize(
    "control",
    ["<image>", "</s>", "<|im_end|>", "<start_of_turn>", "<__media__>", "[INST]", "[/INST]", "<<SYS>>", "＜image＞"],
)
def test_special_tokens_in_sent_text_are_broken_up(control: str) -> None:
    """Nothing of what the person, an earlier answer or a system message holds arrives whole."""
    history = (Turn(f"a {control} b", f"c{control}", ()),)
    _, server = answer_of(make_request(question=f"What {control}is it?", history=history, system=control))
    assert control not in str(server.last_body["messages"])
    assert remote_request.broken_up("1 < 2 > 0, a[1], [x], <3") == "1 < 2 > 0, a[1], [x], <3"


def test_a_huge_picture_is_sent_smaller_and_a_noisy_one_with_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_request, "SENT_PIXELS", 1_000)
    monkeypatch.setattr(remote_request, "LOSSLESS_BYTES", 500)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8))
    kind, _, coded = remote_request.data_uri(noise).partition(",")
    back = Image.open(io.BytesIO(base64.b64decode(coded)))
    assert kind == "data:image/jpeg;base64" and back.width * back.height <= 1_000 and back.width == 2 * back.height


def test_many_pictures_share_the_pixels_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "REQUEST_PIXELS", 10_000)
    pictures = tuple(picture(size=(60, 50)) for _ in range(6))
    history = (Turn("What is it?", "a square", pictures[3:]),)
    with chat_server() as server:
        engine = engine_of(server)
        assert [view.size for view in answered(engine, make_request(images=pictures[:3]))[1].views] == [(60, 50)] * 3
        answer = answered(engine, make_request(images=pictures[:3], history=history))[1]
        assert [view.size for view in answer.views] == [(30, 25)] * 6
        assert [view.size for view in engine.with_pictures(answer, pictures).views] == [(30, 25)] * 6


# -- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"done": False},
        {"reason": False},
        {"pings": True},
        {"streams": False},
        {"logprobs": "ignored"},
        {"logprobs": "refused"},
        {"models": None},
        {"done": False, "lingers": True},
        {"lingers": True},
    ],
    ids=str,
)
def test_an_answer_is_whole_whatever_the_server_leaves_out(odd: dict[str, Any]) -> None:
    answer, _ = answer_of(**odd)
    assert answer.text == "a red square" and not answer.stopped and answer.model == "first"


@pytest.mark.parametrize("streams", [True, False])
def test_an_answer_that_the_server_ended_at_the_limit_is_unfinished(streams: bool, local: LocalEngine) -> None:
    whole, _ = answer_of(make_request(max_new_tokens=3), streams=streams)
    assert whole.text == "a red square" and not whole.full and not whole.unfinished and not whole.shortened
    with chat_server(streams=streams) as server:
        for engine in (engine_of(server), engine_of(server, local)):
            _, answer = answered(engine, make_request(max_new_tokens=2))
            assert answer.text == "a red" and answer.full and answer.unfinished and not answer.stopped
            assert "unfinished" in answer.shortened
            check = next(check for check in answer.checks if check.name == HALLUCINATION)
            assert check.values["unfinished"] is True and "the answer is unfinished" in check.measured
    nothing, _ = answer_of(tokens=("",) * 5)
    assert nothing.text == "" and nothing.tokens == () and nothing.full


def test_line_separators_of_other_alphabets_do_not_cut_a_chunk() -> None:
    """Servers write JSON with such characters as they are; they end a line of text, and none of a stream."""
    odd = ("a\u2028", "b\x85", "c\u2029 ", "d\x0c\x1c")
    assert answer_of(tokens=odd)[0].text == "".join(odd)


def test_probabilities_are_there_where_the_server_sends_them() -> None:
    with chat_server() as server:
        engine = engine_of(server)
        assert not engine.capabilities.logprobs
        _, answer = answered(engine, make_request())
        assert [token.text for token in answer.tokens] == list(SAID) and engine.capabilities.logprobs
        assert [token.probability for token in answer.tokens] == pytest.approx([PROBABILITY] * 3)
    with chat_server(logprobs="refused") as server:
        engine = engine_of(server)
        answered(engine, make_request())
        answered(engine, make_request())
        assert not engine.capabilities.logprobs
        assert ["logprobs" in body for body in server.bodies] == [True, False, False]


def test_a_stream_is_complete_on_a_reason_or_on_done_and_not_before() -> None:
    reader = StreamReader()
    assert reader.line(": ping") == reader.line("") == reader.line("event: message") == reader.line("id: 3") == []
    assert reader.line('data: {"choices": [{"delta": {"content": "a"}, "finish_reason": null}]}') == [StreamChunk("a")]
    assert reader.begun and not reader.complete
    end = reader.line('data: {"choices": [{"delta": {}, "finish_reason": "length"}]}')
    assert end == [StreamChunk("", full=True)] and reader.complete and not reader.done
    together = StreamReader().line('data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "length"}]}')
    assert together == [StreamChunk("a"), StreamChunk("", full=True)]
    other = StreamReader()
    other.line("data:[DONE]")
    assert other.complete and other.done
    for nonsense in ("data: {", 'data: {"choices": 3}', 'data: {"choices": [{"delta": "a"}]}'):
        with pytest.raises(NotUnderstood):
            StreamReader().line(nonsense)


def test_a_silent_server_that_has_finished_keeps_nobody_waiting() -> None:
    with chat_server(done=False, lingers=True) as server:
        engine = RemoteEngine(server_at(server.address, silent_seconds=1000), "first")
        asking = threading.Thread(target=answered, args=(engine, make_request()), daemon=True)
        asking.start()
        assert server.left.wait(LONG)
        asking.join(LONG)
        assert not asking.is_alive()


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("odd", "sentence"),
    [
        ({"key": KEY}, f"asks for a key: set {KEY_VARIABLE}"),
        ({"status": 404, "error": {"error": {"message": "The model `x` does not exist."}}}, "knows no such model"),
        ({"status": 400, "error": {"detail": "Model 'first' not found"}}, "knows no such model"),
        ({"status": 400, "error": {"error": {"message": "maximum context length is 512"}}}, "conversation is too long"),
        ({"status": 400, "error": {"error": "request exceeds the available context size"}}, "conversation is too long"),
        ({"status": 413, "error": {}}, "conversation is too long"),
        ({"status": 429, "error": {"error": {"message": "You exceeded your tokens"}}}, "is busy"),
        ({"status": 400, "error": {"error": {"message": "first is not a multimodal model"}}}, "takes no pictures"),
        ({"status": 422, "error": {"detail": [{"msg": "content must be a string"}]}}, "content must be a string"),
        ({"status": 503, "error": {"object": "error", "message": "warming up"}}, "status 503 .it says: warming up"),
        ({"page": True}, "is no chat answer"),
        ({"breaks_after": 2}, "broke off in the middle"),
        ({"breaks_after": 0}, "broke off in the middle"),
    ],
    ids=str,
)
def test_what_goes_wrong_is_one_sentence(odd: dict[str, Any], sentence: str) -> None:
    message = refused(**odd)
    assert sentence.replace(".it", "(it") in message and "\n" not in message and message.endswith(".")


def test_what_goes_wrong_is_of_its_kind() -> None:
    for odd, kind in (
        ({"status": 413, "error": {}}, BadQuestion),
        ({"status": 400, "error": {"error": "no image input"}}, UnsupportedModel),
    ):
        with chat_server(**odd) as server, pytest.raises(kind):
            answered(engine_of(server), make_request())


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(VlmDemoError, match=f"No server can be reached at {address}: start it, or correct --engine"):
        answered(RemoteEngine(server_at(address), "first"), make_request())
    with pytest.raises(VlmDemoError, match="No server can be reached"):
        connect(Connection(address))


def test_a_server_that_stays_silent_is_given_up() -> None:
    with chat_server(begin=threading.Event()) as server:
        engine = RemoteEngine(server_at(server.address, silent_seconds=0.2), "first")
        with pytest.raises(VlmDemoError, match="has sent nothing for 0 s"):
            answered(engine, make_request())
    with chat_server(go=threading.Event()) as server:
        engine = RemoteEngine(server_at(server.address, silent_seconds=0.2), "first")
        with pytest.raises(VlmDemoError, match="has sent nothing"):
            answered(engine, make_request())


def test_the_key_is_sent_and_shown_to_nobody(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with chat_server(key=KEY) as server:
        monkeypatch.setenv(KEY_VARIABLE, f" {KEY}\n")
        engine = connect(Connection(server.address))
        answered(engine, make_request())
        assert [head["Authorization"] for head in server.headers] == [f"Bearer {KEY}"] * 2
        assert KEY not in repr(engine.server)
    wrong = refused(KEY, key="another")
    assert "refuses this key" in wrong and KEY not in wrong
    message = refused(KEY, status=500, error={"error": f"Bearer {KEY} is\x1b[2J bad"})
    assert "…" in message and KEY not in message and "\x1b" not in message
    assert KEY not in caplog.text


# -- stopping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["begin", "go"])
def test_stop_closes_the_request_while_the_server_is_silent(when: str) -> None:
    received: list[TokenEvent | Answer] = []
    looks: list[bool] = []
    with chat_server(**{when: threading.Event()}) as server:

        def pressed() -> bool:
            """At the third look while nothing comes."""
            if server.silent.is_set() and (received or when == "begin"):
                looks.append(True)
            return len(looks) >= 3

        try:
            for event in engine_of(server).stream(make_request(cancelled=pressed)):
                if isinstance(event, TokenEvent | Answer):
                    received.append(event)
        except Stopped:
            assert when == "begin"
        else:
            answer = received[-1]
            assert when == "go" and isinstance(answer, Answer) and answer.stopped and answer.text == "a"
        assert server.left.wait(LONG)


def test_closing_the_stream_closes_the_request() -> None:
    with chat_server(go=threading.Event()) as server:
        stream = engine_of(server).stream(make_request())
        assert any(isinstance(event, TokenEvent) for event in stream)
        stream.close()  # type: ignore[attr-defined]
        assert server.left.wait(LONG)


def test_tokens_are_streamed_one_by_one() -> None:
    go = threading.Event()
    with chat_server(go=go) as server:
        seen = []
        for event in engine_of(server).stream(make_request()):
            if isinstance(event, TokenEvent):
                seen.append((event.text, go.is_set()))
                go.set()
        assert seen == [("a", False), ("a red", True), ("a red square", True)]


# -- where it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("http://host:8000/", "http://host:8000/v1"),
        ("http://host:8000/v1", "http://host:8000/v1"),
        ("host:8000/v1/", "http://host:8000/v1"),
        ("https://host/api/v3", "https://host/api/v3"),
        ("https://host/v1beta/chat/completions", "https://host/v1beta"),
        ("https://host/openai", "https://host/openai/v1"),
    ],
)
def test_the_address_is_taken_with_or_without_v1(given: str, base: str) -> None:
    assert server_at(given).base == base


@pytest.mark.parametrize("given", ["", "ftp://host", "http://", "http://host:port", "http://a b", "http://me:pw@host"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(BadSetting) as caught:
        server_at(given)
    assert "pw" not in str(caught.value)


def test_the_model_is_the_first_that_is_listed_or_the_one_that_is_named() -> None:
    with chat_server() as server:
        assert connect(Connection(server.address)).name == "first"
        assert connect(Connection(f"{server.address}/v1")).name == "first"
    with chat_server(models=None) as server:
        with pytest.raises(VlmDemoError, match="lists no models: name one with --engine-model"):
            connect(Connection(server.address))
        engine = connect(Connection(server.address, "mine"))
        assert answered(engine, make_request())[1].model == "mine" and server.last_body["model"] == "mine"
    with chat_server(models=()) as server, pytest.raises(VlmDemoError, match="lists no models"):
        connect(Connection(server.address))


@pytest.mark.parametrize(
    ("model", "shown"),
    [("org/name", "org/name"), ("/srv/models/llava/", "llava"), (r"C:\models\big", "big"), ("./x/y", "y"), ("/", "/")],
)
def test_the_folders_of_a_server_are_not_shown(model: str, shown: str) -> None:
    with chat_server(models=(model,)) as server:
        engine = connect(Connection(server.address))
        assert engine.name == answered(engine, make_request())[1].model == shown and server.last_body["model"] == model


def test_the_other_flags_go_with_the_address() -> None:
    assert connection_of(None, None, None) is None
    assert connection_of("host", "", "llava") == Connection("host", None, "llava")
    for others in (("name", None), (None, "llava")):
        with pytest.raises(BadSetting, match="goes with --engine"):
            connection_of(None, *others)


def test_localhost_bypasses_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert answer_of()[0].text == "a red square"


def test_a_redirect_is_not_followed() -> None:
    """It would carry the key to another server."""
    assert "status 307" in refused(status=307, error={})


# -- reading the answer here ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def local(pipe: Pipeline) -> LocalEngine:
    return LocalEngine(pipe)


@pytest.fixture
def replayed(local: LocalEngine) -> Iterator[tuple[RemoteEngine, Answer]]:
    with chat_server() as server:
        engine = engine_of(server, local)
        yield engine, answered(engine, make_request())[1]


def test_heatmaps_of_a_servers_answer_are_those_of_the_checkpoint_here(
    replayed: tuple[RemoteEngine, Answer], local: LocalEngine
) -> None:
    engine, answer = replayed
    read = local.explain(make_request(), "a red square")
    assert answer.text == "a red square" and answer.tokens == read.tokens and answer.prompt == read.prompt
    for method in ("raw", "localised"):
        wanted = MapRequest("red", method=method)
        assert np.array_equal(engine.heatmap(answer, wanted), local.heatmap(read, wanted))
    assert engine.grounding(answer) == local.grounding(read)
    assert engine.heatmap_methods(answer) == local.heatmap_methods(read)
    assert answer.model == engine.name == "first" and [token.text for token in answer.written] == list(SAID)


def test_the_share_of_agreeing_tokens_is_that_of_plain_transformers(local: LocalEngine, pipe: Pipeline) -> None:
    """Counted with the model's own forward pass over prompt and answer: of an answer that begins as its own does, and
    goes on otherwise."""
    local_answer = answered(local, make_request())[1]
    with chat_server(tokens=(local_answer.text, *SAID)) as server:
        answer = answered(engine_of(server, local), make_request())[1]
    ids = [*answer.prompt.ids, *(token.id for token in answer.tokens)]
    with torch.inference_mode():
        logits = pipe.model(input_ids=torch.tensor([ids]), pixel_values=pipe.view(picture()).pixel_values).logits[0]
    count = len(answer.tokens)
    best = logits[-count - 1 : -1].argmax(-1).tolist()
    agreed = sum(token.id == likeliest for token, likeliest in zip(answer.tokens, best, strict=True))
    assert 0 < agreed < count
    assert answer.replay is not None and answer.replay.by == pipe.name and answer.replay.agreement == agreed / count
    assert f"would have written {agreed / count:.0%} of its tokens itself" in answer.replayed


def test_times_are_the_servers_and_the_checklist_is_there(replayed: tuple[RemoteEngine, Answer]) -> None:
    engine, answer = replayed
    assert len(answer.checks) == 5 and answer.timings.encoder == 0 and answer.timings.prefill > 0
    assert answer.checks[0].values["placeholders"] == answer.prompt.image_tokens > 0
    complete = live_checks.complete(engine, answer, blank=True)
    blank = next(check for check in complete if check.name.startswith("Halluc"))
    assert blank.values["blank_answer"] == "a red square" and blank.values["with_blank"] is not None


def test_an_answer_that_cannot_be_read_here_stays_as_it_is(local: LocalEngine) -> None:
    long = tuple(f" word{i}" for i in range(400))
    with chat_server(tokens=long) as server:
        engine = engine_of(server, local)
        _, answer = answered(engine, make_request(max_new_tokens=None))
        assert answer.text == "".join(long)[: len(answer.text)] and answer.trace is None
        assert answer.replay is not None and answer.replay.agreement is None
        assert "could not read it here: Prompt and answer are" in answer.replayed
        with pytest.raises(VlmDemoError, match="could not read it here"):
            answer.heatmap(0)
    with chat_server(tokens=()) as server:
        _, answer = answered(engine_of(server, local), make_request())
        assert answer.text == "" and answer.words == ()


def test_a_badge_is_not_given_for_pictures_that_the_checkpoint_does_not_know(
    replayed: tuple[RemoteEngine, Answer], local: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, answer = replayed
    assert engine.in_distribution(answer.view) is None
    monkeypatch.setattr(LocalEngine, "in_distribution", lambda *_: 0.2)
    with pytest.raises(VlmDemoError, match="knows no pictures like this one"):
        engine.grounding(answer)


def test_without_a_checkpoint_explanations_are_refused() -> None:
    with chat_server() as server:
        engine = engine_of(server)
        events, answer = answered(engine, make_request())
        assert engine.device == ELSEWHERE and not engine.capabilities.explains
        assert answer.replayed == f"first wrote this answer on a server. {NO_MAPS}"
        for refused_ in (
            lambda: answer.heatmap("red"),
            lambda: engine.heatmap(answer, MapRequest("red")),
            lambda: engine.grounding(answer),
            lambda: engine.explain(make_request(), "a"),
        ):
            with pytest.raises(VlmDemoError) as caught:
                refused_()
            assert str(caught.value) == NO_MAPS
        names = [event.name for event in events if isinstance(event, StageEvent)]
        assert names == ["view", "prompt", "prefill", "decode"] and answer.prompt.ids == ()
        assert "[picture]" in answer.prompt.text and "What is in the picture?" in answer.prompt.text
        assert len(live_checks.complete(engine, answer, blank=True)) == 5


def test_a_model_that_gives_no_heatmaps_is_refused_as_an_explainer(pipe: Pipeline) -> None:
    class Silent(LocalEngine):
        @property
        def capabilities(self) -> Any:
            from dataclasses import replace

            return replace(super().capabilities, explains=False)

    with pytest.raises(BadSetting, match="gives no heatmaps: name another checkpoint with --explain-with"):
        RemoteEngine(server_at("host"), "first", Silent(pipe))
