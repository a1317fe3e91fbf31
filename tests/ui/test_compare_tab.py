"""The same question in columns: the requests, what a column shows, and who may load other models."""

from __future__ import annotations

import math
import re
from dataclasses import fields, replace

import pytest
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import event, request, run
from vlm_demo.contracts.events import Alternative
from vlm_demo.errors import UnsupportedModel
from vlm_demo.ui.tabs.chat.transcript import Example
from vlm_demo.ui.tabs.compare import compare_panel, compare_start, compare_work, first_token, presets
from vlm_demo.ui.tabs.compare.compare_events import CompareEvents, CompareParts
from vlm_demo.ui.tabs.compare.comparison import Comparison
from vlm_demo.ui.tabs.compare.presets import ONLY_OPERATOR

EVIL = "${alert(1)} {{x}} <img src=x onerror=alert(2)>"
PARTS = CompareParts(**{handlers.name: handlers.name for handlers in fields(CompareParts)})
VISITOR = {"client": "10.0.0.9", "host": "vlm.example.org"}


class Talker(FakeEngine):
    """Gives another answer where OCR is on, and candidates for the first token."""

    def __init__(self, *arguments, plain="a red circle", read="a red TOTAL circle", **named):
        super().__init__(*arguments, **named)
        self.capabilities = replace(self.capabilities, alternatives=True)
        self.plain, self.read = plain, read

    def stream(self, request):
        self.answer = self.read if request.ocr else self.plain
        for item in super().stream(request):
            if hasattr(item, "tokens"):
                first = replace(item.tokens[0], alternatives=_candidates(request.sampling.alternatives))
                item = replace(item, tokens=(first, *item.tokens[1:]))
            yield item


def _candidates(count):
    return (Alternative("a", 7, math.log(0.93)), Alternative("The", 8, math.log(0.05)))[:count]


@pytest.fixture
def tab(page, picture, monkeypatch):
    """Builds the tab around an engine; the chat has a picture and a question."""
    monkeypatch.setattr(presets.local, "ocr_missing", lambda settings: None)
    monkeypatch.setattr(presets.offers, "embedded", lambda: ["llava", "other"])
    monkeypatch.setattr(presets.model_menu, "unquantizable", dict)

    def build(pipe=None, load=None, question="What is this?") -> CompareEvents:
        events = page(pipe or Talker(), load)
        run(events, events.ask({"text": question, "files": [str(picture)]}, False, False, request()))
        return CompareEvents(events, events.service, PARTS)

    return build


def compared(tab: CompareEvents, question: str = "What is this?", gradio_request=None) -> dict:
    """Ask, and let it be computed; returns the last state of each part."""
    state = dict(tab.ask(question, gradio_request or request()))
    for changes in tab.compare(gradio_request or request()):
        state |= changes
    return state


def comparison_of(tab: CompareEvents) -> Comparison:
    return tab.state(tab.sessions.of("a")).comparison


def looked_at(tab: CompareEvents) -> list[str | None]:
    comparison = comparison_of(tab)
    found = [comparison.word_in(number) for number in range(len(comparison.columns))]
    pairs = zip(comparison.columns, found, strict=True)
    return [None if index is None else column.words[index] for column, index in pairs]


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_columns_differ_in_ocr_alone_and_the_difference_is_marked(tab):
    pipe = Talker()
    handlers = tab(pipe)
    pipe.requests.clear()
    table = compared(handlers)["table"]
    requests = [asked for asked in pipe.requests if asked["question"] == "What is this?"]
    assert [asked["ocr"] for asked in requests] == [False, True]
    assert all(
        asked["evidence_only"] is False and asked["sampling"].alternatives == first_token.REQUESTED
        for asked in requests
    )
    assert "<ins>TOTAL</ins>" in table and "<del>" not in table.replace("<del>missing</del>", "")
    assert "the reference" in table and "1 word added" in table


def test_no_column_is_faster_for_what_another_has_computed(tab):
    pipe = Talker()
    handlers = tab(pipe)
    pipe.requests.clear()
    compared(handlers)
    visitors = [asked["visitor"] for asked in pipe.requests if asked["question"] == "What is this?"]
    assert len(set(visitors)) == 2 and "" not in visitors
    assert set(visitors) <= set(pipe.forgotten)


def test_the_chats_picture_and_question_are_taken_until_others_are(tab, picture):
    handlers = tab()
    changes = handlers.shown("", request())
    assert changes["question"] == "What is this?" and compare_start.FROM_CHAT.split("’")[0] in changes["start"]
    assert "question" not in handlers.shown("Something of my own", request())


def test_an_upload_of_the_tab_is_asked_about_and_deleted(tab, tmp_path):
    pipe = Talker()
    handlers = tab(pipe)
    path = tmp_path / "up" / "own.png"
    path.parent.mkdir()
    Image.new("RGB", (64, 48), "green").save(path)
    content = path.read_bytes()
    assert compare_start.OWN in handlers.uploaded(str(path), request())["start"]
    assert not path.exists() and not handlers.sessions.of("a").uploads
    compared(handlers)
    assert pipe.requests[-1]["images"] == (content,)
    handlers.choose(event(picture="chat"), request())
    compared(handlers)
    assert pipe.requests[-1]["images"] != (content,)


def test_a_file_that_the_composer_holds_too_stays(tab, tmp_path):
    handlers = tab()
    path = tmp_path / "same.png"
    Image.new("RGB", (64, 48), "green").save(path)
    handlers.sessions.claim(handlers.sessions.of("a"), [str(path)])
    handlers.uploaded(str(path), request())
    assert path.exists()


def test_what_is_no_picture_is_refused_in_a_sentence(tab, tmp_path):
    handlers = tab()
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    assert "not a picture" in handlers.uploaded(str(path), request())["start"]


def test_two_pictures_stand_side_by_side(tab, tmp_path):
    pipe = Talker()
    handlers = tab(pipe)
    handlers.choose(event(preset="pictures"), request())
    assert presets.NO_SECOND in handlers.ask("What is this?", request())["start"]
    path = tmp_path / "second.png"
    Image.new("RGB", (64, 48), "green").save(path)
    assert "Take picture 2 off" in handlers.uploaded([str(path)], request())["start"]
    table = compared(handlers)["table"]
    first, second = (asked["images"] for asked in pipe.requests[-2:])
    assert len(first) == len(second) == 1 and first != second
    assert "Picture 1" in table and "Picture 2" in table


def test_other_models_answer_next_to_the_shared_one(tab):
    loaded = []

    def load(model, quantize, progress):
        loaded.append((model, quantize))
        return Talker(model, plain="a blue square")

    handlers = tab(load=load)
    handlers.choose(event(preset="models"), request())
    table = compared(handlers)["table"]
    assert loaded == [("other", "none")]
    assert [column.turn.model for column in comparison_of(handlers).columns] == ["llava", "other"]
    assert "<ins>square</ins>" in table and "<del>circle</del>" in table


def test_precisions_of_the_shared_model_are_compared(tab):
    loaded = []

    def load(model, quantize, progress):
        loaded.append((model, quantize))
        return Talker(model, quantize)

    handlers = tab(load=load)
    handlers.choose(event(preset="precision"), request())
    compared(handlers)
    assert loaded == [("llava", "8bit"), ("llava", "4bit")]
    assert [column.turn.precision for column in comparison_of(handlers).columns] == ["bf16", "8bit", "4bit"]


@pytest.mark.parametrize("preset", ["models", "precision"])
def test_a_visitor_loads_no_other_model(tab, preset):
    def load(*_):
        raise AssertionError("a visitor had a model loaded")

    handlers = tab(load=load)
    visitor = request(**VISITOR)
    changes = handlers.choose(event(preset=preset), visitor)
    assert ONLY_OPERATOR in changes["start"] and "disabled" in changes["start"]
    refused = handlers.ask("What is this?", visitor)
    assert ONLY_OPERATOR in refused["start"] and comparison_of(handlers) is None
    handlers.choose(event(preset="ocr"), visitor)
    assert "<ins>TOTAL</ins>" in compared(handlers, gradio_request=visitor)["table"]


def test_a_column_that_fails_says_why_and_the_others_are_asked(tab):
    def load(model, quantize, progress):
        if quantize == "8bit":
            raise UnsupportedModel("It can't be packed: <b>too small</b>.")
        return Talker(model, quantize)

    handlers = tab(load=load)
    handlers.choose(event(preset="precision"), request())
    table = compared(handlers)["table"]
    assert "It can&#39;t be packed: &lt;b&gt;too small" in table
    assert [column.turn.state for column in comparison_of(handlers).columns] == ["done", "failed", "done"]


def test_stop_ends_the_column_and_those_after_it(tab):
    pipe = Talker(plain="word " * 150)
    handlers = tab(pipe)
    pipe.pause = 0.01
    handlers.ask("What is this?", request())
    first, *others = (column.turn for column in comparison_of(handlers).columns)
    state: dict = {}
    for changes in handlers.compare(request()):
        state |= changes
        if first.answer_text:
            handlers.halt(request())
    assert first.state == "stopped" and 1 <= len(first.answer_text.split()) < 150
    assert {turn.state for turn in others} == {"stopped"} and not any(turn.answer_text for turn in others)
    assert state["live"] == "" and state["ask"]["interactive"]


def test_of_the_progress_only_what_is_done_is_read_out(tab, monkeypatch):
    monkeypatch.setattr(compare_work, "FRAME", 0)
    handlers = tab()
    handlers.ask("What is this?", request())
    drawn = [str(changes["live"]) for changes in handlers.compare(request()) if changes.get("live")]
    written = [html for html in drawn if "words streaming" in html]
    assert written and all(re.findall(r"<(\w+)[^>]*role=\"status\"", html) == ["span"] for html in written)


def test_a_closed_page_computes_nothing_more(tab):
    pipe = Talker()
    handlers = tab(pipe)
    handlers.ask("What is this?", request())
    running = handlers.compare(request())
    next(running)
    comparison = comparison_of(handlers)
    handlers.sessions.close("a")
    list(running)
    assert all(column.turn.state == "stopped" for column in comparison.columns)


def test_comparisons_of_two_pages_go_one_after_the_other(tab):
    handlers = tab()
    handlers.ask("What is this?", request())
    first = handlers.compare(request())
    next(first)
    other = request(session="b")
    with handlers.sessions.of("b").lock:
        handlers.sessions.of("b").exchanges.extend(handlers.sessions.of("a").exchanges)
    handlers.ask("What is this?", other)
    waiting = handlers.compare(other)
    assert "1 comparison before it" in next(waiting)["live"]
    list(first)
    assert "before it" not in next(waiting)["live"]
    waiting.close()


def test_a_pressed_word_is_selected_in_every_column(tab):
    handlers = tab()
    compared(handlers)
    assert looked_at(handlers) == ["red", "red"]
    table = handlers.look(event(word=[1, 3]), request())["table"]
    assert looked_at(handlers) == ["circle", "circle"]
    assert len(re.findall(r'aria-pressed="true"', table)) == 2
    table = handlers.look(event(word=[1, 2]), request())["table"]  # which the reference lacks
    assert looked_at(handlers) == [None, "TOTAL"] and "Nothing stands in this word" in table
    handlers.step(event(by=1), request())
    assert looked_at(handlers) == ["circle", "circle"]
    handlers.look(event(word=[7, 90]), request())
    assert looked_at(handlers) == ["circle", "circle"]


def test_all_maps_have_one_scale_when_the_last_column_is_done(tab, monkeypatch):
    monkeypatch.setattr(compare_panel, "_peak", lambda answer, *_: 8.0 if "TOTAL" in answer.text else 2.0)
    handlers = tab()
    compared(handlers)
    comparison = comparison_of(handlers)
    drawn = dict(comparison.figures)
    comparison.figures.clear()
    handlers._table(handlers.sessions.of("a"))
    assert drawn == comparison.figures


def test_maps_have_the_colours_and_the_opacity_that_were_chosen_last(tab):
    handlers = tab()
    compared(handlers)
    options = handlers.sessions.of("a").map_options
    comparison = comparison_of(handlers)
    seen = [dict(comparison.figures)]
    for change in ({"colormap": "viridis"}, {"opacity": 0.2}):
        vars(options).update(change)
        handlers.shown("What is this?", request())
        assert all(comparison.figures[key] != before for key, before in seen[-1].items())
        seen.append(dict(comparison.figures))
    handlers.shown("What is this?", request())
    assert comparison.figures == seen[-1] and len(seen[-1]) == 2


def test_after_a_reload_the_table_is_there_and_an_example_begins_with_an_empty_one(tab):
    handlers = tab()
    compared(handlers)
    old = comparison_of(handlers)
    assert "TOTAL" in handlers.shown("What is this?", request())["table"]
    handlers.examples = [Example("cat.jpg", b"a picture", "data:,", "What animal?")]
    assert "TOTAL" not in handlers.example(event(index=0), request())["table"]
    assert comparison_of(handlers) is None and old.stop.is_set()


def test_texts_of_people_pictures_and_models_are_text(tab):
    pipe = Talker(plain=EVIL, read=f"{EVIL} more")
    handlers = tab(pipe, question=EVIL)
    changes = handlers.shown("", request())
    state = compared(handlers, EVIL)
    for html in (changes["start"], state["start"], state["table"], state["live"]):
        assert "<img src=x" not in html
    assert "&lt;img" in state["table"]
    assert text_of(state["table"]).startswith("${alert(1)} {{x}} &lt;img")


def test_question_and_picture_are_needed(tab):
    handlers = tab()
    assert "question is empty" in handlers.ask(" ", request())["start"]
    assert compare_start.NO_PICTURE in handlers.ask("What?", request(session="fresh"))["start"]


def test_clear_in_the_chat_takes_the_comparison_along(page, picture, monkeypatch):
    monkeypatch.setattr(presets.local, "ocr_missing", lambda settings: None)
    events = page(Talker())
    run(events, events.ask({"text": "What is this?", "files": [str(picture)]}, False, False, request()))
    tab = CompareEvents(events, events.service, PARTS)
    compared(tab)
    old = comparison_of(tab)
    assert old is not None and "TOTAL" in tab._table(tab.sessions.of("a"))[PARTS.table]
    events.clear(request())
    assert comparison_of(tab) is None and old.stop.is_set()
    assert "TOTAL" not in tab.shown("", request())[PARTS.table]


@pytest.mark.parametrize("again", ["retry", "edit"])
def test_asking_the_first_question_again_in_the_chat_keeps_both(page, picture, tmp_path, monkeypatch, again):
    monkeypatch.setattr(presets.local, "ocr_missing", lambda settings: None)
    events = page(Talker())
    run(events, events.ask({"text": "What is this?", "files": [str(picture)]}, False, False, request()))
    handlers, own = CompareEvents(events, events.service, PARTS), tmp_path / "own" / "own.png"
    own.parent.mkdir()
    Image.new("RGB", (30, 20), "green").save(own)
    handlers.uploaded([str(own)], request())
    compared(handlers)
    state = handlers.state(events.sessions.of("a"))
    kept = state.comparison, state.pictures
    if again == "retry":
        events.retry(False, False, request())
    else:
        events.ask_edited(event(turn=0, text="What is that?"), False, False, request())
    assert all(kept) and (state.comparison, state.pictures) == kept
