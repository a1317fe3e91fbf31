"""The page over a server's model: it says what is explained here and by which model, and what is not available."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator

import pytest

from tests.kit.chat_server import chat_server
from tests.kit.ui import event, request, run
from vlm_demo import Pipeline
from vlm_demo.engines import local, remote
from vlm_demo.engines.connection import Connection
from vlm_demo.engines.local import LocalEngine
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.engines.remote import NO_MAPS, RemoteEngine
from vlm_demo.engines.remote_server import server_at
from vlm_demo.ui import start
from vlm_demo.ui.tabs.chat import transcript
from vlm_demo.ui.tabs.chat.chat_events import Events

NAME = "org/<b>big</b>-vlm"


def text_of(drawn: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", drawn))


@pytest.fixture
def unexplained() -> Iterator[RemoteEngine]:
    with chat_server(logprobs="ignored") as server:
        yield RemoteEngine(server_at(server.address), NAME)


@pytest.fixture
def explained(pipe: Pipeline) -> Iterator[RemoteEngine]:
    with chat_server() as server:
        yield RemoteEngine(server_at(server.address), NAME, LocalEngine(pipe))


def answered(events: Events, picture, **toggles: bool) -> dict:
    state = run(events, events.ask({"text": "What is it?", "files": [str(picture)]}, False, False, request()))
    for work in (events.deferred_maps.ground, events.checks.finish):
        for changes in work(request()):
            state |= changes
    return {**state, **events.inspector.show_map(request())}


def test_without_a_checkpoint_the_page_says_that_there_are_no_heatmaps(
    page, picture, unexplained: RemoteEngine
) -> None:
    state = answered(page(unexplained), picture)
    chat = text_of(state["chat"])
    assert "a red square" in chat and NO_MAPS in chat and "0 image tokens" not in chat
    assert "probability" not in state["chat"] and "weak" not in chat
    assert NO_MAPS in text_of(state["heatmap"]) and "Encoder" not in state["heatmap"]
    assert "went to the server" in state["prompt"] and "[picture]" in text_of(state["prompt"])
    assert "out of sight" in state["sees"] and "patches" not in state["sees"]
    assert "Server: until its first word" in text_of(state["stages"]) and "Encoder" not in state["stages"]
    assert "0 bytes" not in state["stages"]
    assert NO_MAPS in text_of(state["checks"])
    assert "<b>big</b>" not in "".join(str(part) for part in state.values())


def test_an_answer_that_the_server_cut_is_told_as_unfinished(page, picture) -> None:
    with chat_server(tokens=tuple(f" word{i}" for i in range(300))) as server:
        state = answered(page(RemoteEngine(server_at(server.address), NAME)), picture)
    assert "The answer is unfinished: the model was not allowed to write more." in text_of(state["chat"])
    assert "the answer is unfinished" in text_of(state["checks"])


def test_an_answer_that_loops_is_told_as_cut(page, picture) -> None:
    with chat_server(tokens=("a star", *(" again",) * 200)) as server:
        state = answered(page(RemoteEngine(server_at(server.address), NAME)), picture)
    chat = text_of(state["chat"])
    assert "a star again" in chat and "again again" not in chat and "began to repeat itself" in chat


def test_with_a_checkpoint_it_says_whose_heatmaps_they_are(
    page, picture, explained: RemoteEngine, pipe: Pipeline
) -> None:
    state = answered(page(explained), picture)
    chat = text_of(state["chat"])
    assert f"Heatmaps, badge, checks and probabilities are those of {pipe.name}, which read it here" in chat
    assert re.search(r"would have written \d+% of its tokens itself", chat)
    assert f"attention of {pipe.name}, which read the given answer here (replay)" in text_of(state["heatmap"])
    assert "16 image" in text_of(state["prompt"]) and f"those of {pipe.name}" in text_of(state["checks"])
    assert f"of {pipe.name}, which read the answer here" in text_of(state["stages"])
    assert "<b>big</b>" not in "".join(str(part) for part in state.values())


def test_what_is_saved_says_so_too(page, picture, explained: RemoteEngine) -> None:
    from vlm_demo.ui.takeaway.conversation_files import as_html, as_json
    from vlm_demo.ui.takeaway.saved_turn import saved

    events = page(explained)
    answered(events, picture)
    turn = saved(events.sessions.of("a").exchanges[0])
    assert "which read it here" in text_of(as_html([turn]).decode())
    assert "which read it here" in json.loads(as_json([turn]))["turns"][0]["replayed"]


def test_the_progress_has_no_stages_that_a_server_does_not_report(page, picture, unexplained) -> None:
    events = page(unexplained)
    events.ask({"text": "What is it?", "files": [str(picture)]}, False, False, request())
    drawn = [changes["live"] for changes in events.answer(request()) if "live" in changes]
    session = events.sessions.of("a")
    exchange = session.exchanges[0]
    assert exchange.remote and drawn
    exchange.state, exchange.answer_text = "running", ""
    exchange.stages = exchange.stages[:2]  # view and prompt are done
    assert "Waiting for the server" in transcript.live(session) and "Encoding" not in transcript.live(session)


def test_the_chips_name_the_servers_model_and_not_its_address(unexplained: RemoteEngine, page) -> None:
    events = Events(ModelRegistry(unexplained, lambda *_: None, unexplained.name), page().parts)
    chips = events.opened(request())["chips"]
    shown = [html.unescape(text) for text in re.findall(r"<option[^>]*>([^<]*)</option>", chips)]
    assert f"{NAME} · on a server" in shown and "as served" in shown
    assert "8-bit · the server's choice" in shown and "127.0.0.1" not in chips and "0 bytes" not in chips


def test_one_can_switch_to_a_model_here_and_back(monkeypatch: pytest.MonkeyPatch, pipe: Pipeline, page) -> None:
    monkeypatch.setattr(local, "load", lambda *_: LocalEngine(pipe))
    with chat_server() as server:
        service = start.served(Connection(server.address), "none", None)
        assert service.status.name == "first" and service.status.device == "a server"
        service.switch("llava", "none")
        assert service.status.name == pipe.name and service.status.device == "cpu"
        events = Events(service, page().parts)
        assert "first · on a server" in events.opened(request())["chips"]
        for _ in events.switch(event(name="model", value="first"), request()):
            pass
        assert service.status.name == "first" and service.status.device == "a server"


def test_a_server_that_fails_is_a_sentence_in_the_chat(page, picture) -> None:
    with chat_server(status=500, error={"error": "<img src=x> CUDA out of memory"}) as server:
        events = page(remote.RemoteEngine(server_at(server.address), "first"))
        state = run(events, events.ask({"text": "What?", "files": [str(picture)]}, False, False, request()))
    assert "CUDA out of memory" in text_of(state["chat"]) and "<img src=x>" not in state["chat"]
