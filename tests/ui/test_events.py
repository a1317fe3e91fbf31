"""What presses do, without a browser: asking, refusing, stopping, going back, inspecting, switching."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import ask, event, request, run
from tests.kit.waiting import LONG
from vlm_demo.engines.registry import UNEXPECTED
from vlm_demo.errors import ModelNotFound, Stopped
from vlm_demo.ui import layout, sessions
from vlm_demo.ui.tabs.chat import page_choice
from vlm_demo.ui.tabs.chat.transcript import Example
from vlm_demo.ui.tabs.inspect.panels import heatmap_panel


def text_of(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html)


def overlays(html: str) -> list[str]:
    return re.findall(r'class="overlay" src="([^"]+)"', html)


def test_question_is_answered_and_the_upload_deleted(page, picture):
    events = page()
    state = run(events, ask(events, "Describe.", picture))
    assert "a large purple star and a small red square" in text_of(state["chat"])
    assert "196 image" in text_of(state["prompt"])
    assert not picture.exists()


def test_a_second_question_of_a_page_waits_until_the_first_has_stopped(page, picture):
    engine = FakeEngine()
    events = page(engine)
    ask(events, "Describe.", picture)
    first = events.answer(request())
    next(first)
    ask(events, "And then?")
    session, reached = events.sessions.of(request().session_hash), threading.Event()
    held = session.answering

    @contextmanager
    def waited_for() -> Iterator[None]:
        reached.set()
        with held:
            yield

    session.answering = waited_for()
    second = threading.Thread(target=lambda: list(events.answer(request())))
    second.start()
    assert reached.wait(LONG) and not engine.requests
    list(first)
    second.join(LONG)
    assert [exchange.state for exchange in session.exchanges] == ["stopped", "done"]
    assert engine.requests[-1]["question"] == "And then?"


def test_a_question_too_many_is_refused_and_stays_in_the_composer(page, picture, tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "MOST_WAITING", 1)
    other = tmp_path / "b.png"
    other.write_bytes(picture.read_bytes())
    events = page()
    first = ask(events, "Describe.", picture)
    message = {"text": "And for me?", "files": [str(other)]}
    refused = events.ask(message, False, False, request("b"))
    assert set(refused) == {"status"} and "wait already" in text_of(refused["status"]) and other.exists()
    run(events, first)
    assert "wait already" not in str(events.ask(message, False, False, request("b")))


def test_toggles_reach_the_pipeline(page, picture):
    pipe = FakeEngine()
    events = page(pipe)
    run(events, ask(events, "Total?", picture, ocr=True, evidence_only=True))
    assert pipe.requests[0]["ocr"] and pipe.requests[0]["evidence_only"]


def test_text_is_read_in_the_language_that_the_page_chose(page, picture):
    pipe = FakeEngine()
    events = page(pipe)
    run(events, ask(events, "Total?", picture, ocr=True))
    events.read_in("deu", request())
    run(events, ask(events, "And the date?", ocr=True))
    assert [one["ocr_settings"].languages for one in pipe.requests] == ["eng", "deu"]
    assert events.arrived(event(tab=""), request())["language"] == "deu"  # after a reload too
    assert events.arrived(event(tab=""), request("b")) == {"language": "eng"}


def test_one_press_on_an_example_asks_it(page, picture):
    events = page(examples=[Example("a", picture.read_bytes(), "data:,", "Describe.", evidence_only=True)])
    state = run(events, events.ask_example(event(index=0), request()))
    assert state["evidence_only"] is True and "purple star" in text_of(state["chat"])


@pytest.mark.parametrize(("text", "with_picture", "sentence"), [("", True, "empty"), ("hello", False, "no picture")])
def test_incomplete_questions_are_refused_in_a_sentence(page, picture, text, with_picture, sentence):
    events = page()
    changes = ask(events, text, *[picture] * with_picture)
    assert sentence in changes["status"] and "chat" not in changes
    assert picture.exists()  # it still lies in the composer


def test_the_same_refusal_again_is_another_value_which_the_page_sees(page):
    events = page()
    first, second = (ask(events, "hello")["status"] for _ in range(2))
    assert first != second and text_of(first) == text_of(second)


def test_bad_upload_keeps_the_conversation_and_the_good_pictures(page, picture, tmp_path):
    events = page()
    run(events, ask(events, "Describe.", picture))
    bad, good = tmp_path / "notes.png", tmp_path / "good.png"
    bad.write_text("no picture")
    Image.new("RGB", (5, 5)).save(good)
    changes = ask(events, "And this?", bad, good)
    assert "not a picture" in changes["status"] and "chat" not in changes
    assert len(events.sessions.of("a").exchanges) == 1
    assert changes["composer"]["value"] == {"text": "And this?", "files": [str(good)]}


def test_stop_ends_the_computing_and_keeps_what_was_said(page, picture):
    events = page(FakeEngine(pause=0.01, answer="word " * 150))
    ask(events, "Describe.", picture)
    exchange, state = events.sessions.of("a").last, {}
    for changes in events.answer(request()):
        state |= changes
        if exchange.answer_text and not exchange.stop.is_set():
            events.stop(request())
    assert exchange.state == "stopped" and 1 <= len(exchange.answer_text.split()) < 150
    assert "stopped" in text_of(state["chat"]) and "word" in text_of(state["chat"])


def test_next_question_runs_at_once_after_stop(page, picture):
    events = page(FakeEngine(pause=0.05))
    ask(events, "One?", picture)
    running = events.answer(request())
    next(running)
    events.stop(request())
    ask(events, "Two?")
    list(running)
    state = run(events, {})
    assert [e.state for e in events.sessions.of("a").exchanges] == ["stopped", "done"]
    assert "Two?" in state["chat"]


def test_closing_the_generator_frees_the_model(page, picture):
    events = page(FakeEngine(pause=0.02))
    ask(events, "One?", picture)
    running = events.answer(request())
    next(running)
    running.close()
    with events.service.engine() as engine, engine.scheduler.turn(cancelled=lambda: True):  # nothing to wait for
        assert events.sessions.of("a").last.state == "stopped"


def test_undo_puts_question_and_picture_back(page, picture, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    events = page()
    run(events, ask(events, "Describe.", picture))
    changes = events.undo(request())
    assert "Ask a picture" in changes["chat"]
    assert len(list((tmp_path / "cache").rglob("picture.png"))) == 1
    events.clear(request())
    assert not list((tmp_path / "cache").rglob("picture.png"))


@pytest.mark.parametrize("end", ["clear", "closed"])
def test_what_the_model_remembers_goes_with_the_conversation(page, picture, end):
    pipe = FakeEngine()
    events = page(pipe)
    run(events, ask(events, "One?", picture))
    assert not pipe.forgotten
    getattr(events, end)(request())
    assert pipe.forgotten == [pipe.requests[0]["visitor"]] and len(pipe.forgotten[0]) == 16


def test_a_reload_brings_the_conversation_back_and_the_model_remembers(page, picture):
    events = page(pipe := FakeEngine())
    tab = "0123456789abcdef" * 2
    events.arrived(event(tab=tab), request())
    run(events, ask(events, "One?", picture))
    events.closed(request())
    assert not pipe.forgotten
    changes = events.arrived(event(tab=tab), request("b"))
    assert "One?" in changes["chat"] and "img" in changes["heatmap"]
    events.ask({"text": "Two?", "files": []}, False, False, request("b"))
    list(events.answer(request("b")))
    one, two = pipe.requests
    assert two["question"] == "Two?" and two["visitor"] == one["visitor"] and len(two["history"]) == 1


@pytest.mark.parametrize(
    ("parameters", "on"), [({"ocr": "1"}, ["ocr"]), ({"evidence": "1", "ocr": "0"}, ["evidence_only"]), ({}, [])]
)
def test_the_address_switches_toggles_on(page, parameters, on):
    events = page()
    opening = request()
    opening.query_params = parameters
    changes = events.opened(opening)
    toggles = {"ocr", "evidence_only"}
    assert [part for part, value in changes.items() if part in toggles and value] == on


def test_edit_asks_anew_and_drops_what_followed(page, picture):
    pipe = FakeEngine()
    events = page(pipe)
    run(events, ask(events, "One?", picture))
    run(events, ask(events, "Two?"))
    state = run(events, events.ask_edited(event(turn=0, text="Uno?"), False, True, request()))
    assert [r["question"] for r in pipe.requests] == ["One?", "Two?", "Uno?"] and pipe.requests[-1]["evidence_only"]
    assert "Two?" not in state["chat"] and len(events.sessions.of("a").exchanges) == 1


def test_retry_takes_the_toggles_as_they_are_now(page, picture):
    pipe = FakeEngine()
    events = page(pipe)
    run(events, ask(events, "One?", picture))
    run(events, events.retry(False, True, request()))
    assert [r["evidence_only"] for r in pipe.requests] == [False, True] and len(events.sessions.of("a").exchanges) == 1


def test_each_word_has_its_own_map_and_each_picture_one(page, picture, tmp_path):
    other = tmp_path / "other.png"
    Image.new("RGB", (80, 90), "blue").save(other)
    events = page()
    run(events, ask(events, "Describe.", picture, other))
    first = events.inspector.press(event(turn=0, word=1), request())["heatmap"]
    second = events.inspector.press(event(turn=0, word=4), request())["heatmap"]
    maps = [overlays(drawn) for drawn in (first, second)]
    assert len(maps[0]) == 2 and maps[0] != maps[1]
    stepped = events.inspector.step(event(by=1), request())["heatmap"]
    assert 'data-word="5"' in stepped
    assert overlays(events.inspector.look(event(opacity=10, grid=True), request())["heatmap"]) != overlays(stepped)


def test_a_press_on_a_forgotten_answer_says_so(page):
    assert "no longer" in page().inspector.press(event(turn=3, word=0), request())["status"]


def test_unexpected_errors_say_one_sentence_and_log_nothing_of_the_visitor(page, picture, caplog):
    class Broken(FakeEngine):
        def stream(self, request):
            raise RuntimeError(f"cannot do {request.question}")
            yield

    events = page(Broken())
    with caplog.at_level(logging.ERROR):
        state = run(events, ask(events, "my secret question", picture))
    assert UNEXPECTED in state["chat"]
    assert "RuntimeError" in caplog.text and "secret" not in caplog.text


def test_a_switch_is_refused_to_visitors_on_the_server(page):
    events = page(load=lambda name, quantize, progress: FakeEngine(name, quantize))
    visitor = request(host="abc.example.org", **{"x-forwarded-for": "8.8.8.8"})
    last = list(events.switch(event(name="quantize", value="4bit"), visitor))[-1]
    assert events.service.quantize == "none"
    assert "operator" in last["notice"] and last["chips"].count("disabled") == 2


def test_every_open_page_shows_a_switch(page):
    events = page(load=lambda name, quantize, progress: FakeEngine(name, quantize))
    events.opened(request("b"))
    list(events.switch(event(name="quantize", value="4bit"), request("a")))
    assert "4-bit" in events.tick(None, request("b"))["chips"]
    assert "notice" not in events.tick(None, request("b"))


def test_a_failed_switch_says_why_and_what_stays(page):
    def refuse(*_):
        raise ModelNotFound("There is no model nowhere.")

    events = page(load=refuse)
    last = list(events.switch(event(name="model", value="nowhere"), request()))[-1]
    assert "There is no model nowhere. llava stays in service." in text_of(last["notice"])
    assert events.service.model == "llava"


def test_a_sentence_about_the_model_does_not_stand_for_ever(page, monkeypatch):
    events = page()
    visitor = request(host="abc.example.org", **{"x-forwarded-for": "8.8.8.8"})
    list(events.switch(event(name="quantize", value="4bit"), visitor))
    assert "notice" not in events.tick(None, visitor)
    monkeypatch.setattr("vlm_demo.ui.session.NOTICE", 0)
    assert "operator" not in events.tick(None, visitor)["notice"]


def test_a_question_that_waits_for_its_turn_gives_way_to_the_next_one(page, picture):
    pipe = FakeEngine()
    events = page(pipe)
    ask(events, "First?", picture)
    asked = ask(events, "Second?")
    run(events, run(events, asked))  # each question comes with its own event in the queue
    exchanges = events.sessions.of("a").exchanges
    assert [exchange.state for exchange in exchanges] == ["stopped", "done"]
    assert [request["question"] for request in pipe.requests] == ["Second?"]


def test_stop_takes_a_waiting_question_out_of_the_queue_at_once(page, picture):
    events = page()
    ask(events, "First?", picture)
    changes = events.stop(request())
    assert changes["composer"]["submit_btn"] and not changes["composer"]["stop_btn"]
    assert events.sessions.of("a").last.state == "stopped"
    state = run(events, ask(events, "Second?"))
    assert "purple star" in text_of(state["chat"])


def test_what_was_cut_of_an_answer_is_neither_shown_nor_sent_again(page, picture):
    class Looping(FakeEngine):
        def stream(self, request):
            *events, answer = super().stream(request)
            whole = dict(vars(answer)) | {"text": "a star", "tokens": answer.tokens[:2], "words": answer.words[:2]}
            yield from events
            yield type(answer)(**whole | {"cut": len(answer.tokens) - 2})

    pipe = Looping(answer="a star " + "again " * 40)
    events = page(pipe)
    state = run(events, ask(events, "Describe.", picture))
    assert "again again" not in text_of(state["chat"]) and "began to repeat itself" in text_of(state["chat"])
    run(events, ask(events, "And now?"))
    assert [turn.answer for turn in pipe.requests[1]["history"]] == ["a star"]


def test_the_notice_about_a_strange_picture_stands_under_every_turn_about_it(page, tmp_path):
    def upload(name, colour):
        path = tmp_path / name / "upload.png"
        path.parent.mkdir()
        Image.new("RGB", (50, 50), colour).save(path)
        return path

    events = page()
    for text, *files in (("One?", upload("strange", (1, 2, 3))), ("Two?",), ("Three?",)):
        state = run(events, ask(events, text, *files))
    assert state["chat"].count('class="outside"') == 3
    state = run(events, ask(events, "Four?", upload("known", "white")))
    assert state["chat"].count('class="outside"') == 3  # not under the question about its own picture
    state = run(events, ask(events, "Five?"))
    assert [bool(own.outside) for own in events.sessions.of("a").exchanges] == [True, True, True, False, False]
    assert state["chat"].count('class="outside"') == 3


def test_a_reply_that_comes_after_clear_is_put_right(page, picture):
    events = page()
    late = ask(events, "Describe.", picture)  # its reply is on its way
    assert "Waiting" in late["live"]
    events.clear(request())
    state = late | events.settle(request())
    assert "Ask a picture" in state["chat"] and not state["live"]
    assert state["composer"]["submit_btn"] and not state["composer"]["stop_btn"]


def test_a_reply_to_stop_that_comes_after_the_end_is_put_right(page, picture):
    events = page(FakeEngine(pause=0.01))
    ask(events, "Describe.", picture)
    steps = events.answer(request())
    next(steps)
    late = events.stop(request())
    (*_, end) = steps
    assert "stopping" in late["live"] and end["live"] == ""
    functions = layout.build(events.service, []).fns.values()
    stop = next(fn for fn in functions if fn.name == "stop")
    assert [fn.name for fn in functions if fn.trigger_after == stop._id] == ["settle"]
    page_state = late | events.settle(request())
    assert page_state["live"] == "" and page_state["composer"]["stop_btn"] is False


def test_a_reply_that_comes_after_undo_does_not_empty_the_composer(page, picture, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    events = page()
    ask(events, "Describe.", picture)
    back = events.undo(request())["composer"]["value"]
    assert back["text"] == "Describe." and back["files"]
    assert events.settle(request())["composer"]["value"] == back
    asked = ask(events, "Another?", *back["files"])
    assert "chat" not in events.settle(request())  # nothing came before this reply
    run(events, asked)
    assert "value" not in events.settle(request())["composer"]


def test_what_was_changed_after_undo_stays_when_it_is_refused(page, picture, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    events = page()
    ask(events, "Describe.", picture)
    events.undo(request())
    assert "no picture" in ask(events, "Something else?")["status"]
    assert "value" not in events.settle(request())["composer"]


def test_a_complaint_stays_when_the_page_is_put_right(page):
    events = page()
    assert "no picture" in ask(events, "Describe.")["status"]
    assert "status" not in events.settle(request())


def test_presses_are_handled_in_the_order_of_their_arrival(page, picture, monkeypatch):
    """Clear comes while the picture of a question is still being opened: it clears that question too."""
    opening, go = threading.Event(), threading.Event()
    opened = page_choice.opened

    def slowly(paths, number):
        opening.set()
        go.wait(60)
        return opened(paths, number)

    monkeypatch.setattr(page_choice, "opened", slowly)
    events = page()
    asking = threading.Thread(target=ask, args=(events, "Describe.", picture))
    clearing = threading.Thread(target=events.clear, args=(request(),))
    asking.start()
    opening.wait(60)
    clearing.start()
    go.set()
    asking.join(60)
    clearing.join(60)
    assert events.sessions.of("a").exchanges == []


def test_an_answer_may_be_taken_back_while_its_map_is_drawn(page, picture, monkeypatch, caplog):
    events = page()
    run(events, ask(events, "Describe.", picture))
    explanation, clearing = heatmap_panel.method_menu.explanation, []

    def meanwhile(session):
        clearing.append(threading.Thread(target=events.clear, args=(request(),)))
        clearing[0].start()
        clearing[0].join(0.2)
        return explanation(session)

    monkeypatch.setattr(heatmap_panel.method_menu, "explanation", meanwhile)
    assert "overlay" in events.inspector.show_map(request())["heatmap"]
    clearing[0].join(60)
    assert not events.sessions.of("a").exchanges and not caplog.text


def test_a_question_that_is_taken_back_before_its_turn_leaves_no_complaint(page, picture, caplog):
    events = page()
    ask(events, "Describe.", picture)
    exchange = events.sessions.of("a").last
    events.clear(request())
    with pytest.raises(Stopped):
        list(events._compute(events.sessions.of("a"), exchange))
    assert not caplog.text


def test_a_turn_says_which_model_and_precision_answered_it(page, picture):
    events = page(load=lambda name, quantize, progress: FakeEngine(name, quantize))
    run(events, ask(events, "One?", picture))
    list(events.switch(event(name="quantize", value="4bit"), request()))
    state = run(events, ask(events, "Two?"))
    labels = re.findall(r">(llava, \w+)</button>", state["chat"])
    assert labels == ["llava, bf16", "llava, 4bit"] and "llava, 4bit" in state["stages"]


def test_other_pages_are_notified_of_a_switch_and_the_operators_is_not(page):
    events = page(load=lambda name, quantize, progress: FakeEngine(name, quantize))
    for own in ("a", "b"):
        events.opened(request(own))
    last = list(events.switch(event(name="model", value="<b>blip2"), request("a")))[-1]
    told = events.tick(None, request("b"))["notice"]
    assert text_of(told) == "The operator has switched the model: from now on &lt;b&gt;blip2, none answers."
    assert 'role="status"' in told and not last["notice"] and "notice" not in events.tick(None, request("a"))


def test_a_complaint_goes_when_the_composer_changes(page):
    events = page()
    assert "no picture" in ask(events, "hello")["status"]
    assert events.typed(request()) == {"status": ""}


def test_a_question_that_waits_says_how_many_come_before_it(page, picture, tmp_path):
    other = tmp_path / "other.png"
    other.write_bytes(picture.read_bytes())
    events = page()
    ask(events, "First?", picture)
    message = {"text": "Second?", "files": [str(other)]}
    assert "1 question before it" in events.ask(message, False, False, request("b"))["live"]
    assert "live" not in events.tick(None, request("b"))
    run(events, {})
    assert text_of(events.tick(None, request("b"))["live"]).strip() == "Waiting for its turn"
