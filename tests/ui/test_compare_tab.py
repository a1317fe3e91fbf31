"""The same question in columns: what is asked of whom, what a column shows, and who may load other models."""

from __future__ import annotations

import math
import re
from dataclasses import fields, replace

import pytest
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import event, request, run
from vlm_demo.contracts.events import Alternative, Token
from vlm_demo.errors import UnsupportedModel
from vlm_demo.ui.tabs.compare import compare_start, first_token, presets
from vlm_demo.ui.tabs.compare.compare_events import CompareEvents, CompareParts
from vlm_demo.ui.tabs.compare.comparison import Comparison
from vlm_demo.ui.tabs.compare.difference import ADDED, MISSING, between
from vlm_demo.ui.tabs.compare.presets import ONLY_OPERATOR

EVIL = "${alert(1)} {{x}} <img src=x onerror=alert(2)>"
PARTS = CompareParts(**{own.name: own.name for own in fields(CompareParts)})
VISITOR = {"client": "10.0.0.9", "host": "vlm.example.org"}


class Talker(FakeEngine):
    """Answers otherwise where OCR is on; tells candidates for the first token."""

    def __init__(self, *arguments, plain="a red circle", read="a red TOTAL circle", **named):
        super().__init__(*arguments, **named)
        self.capabilities = replace(self.capabilities, alternatives=True)
        self.plain, self.read = plain, read

    def stream(self, request):
        self.answer = self.read if request.ocr else self.plain
        for own in super().stream(request):
            if hasattr(own, "tokens"):
                first = replace(own.tokens[0], alternatives=_candidates(request.sampling.alternatives))
                own = replace(own, tokens=(first, *own.tokens[1:]))
            yield own


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


def compared(tab: CompareEvents, question: str = "What is this?", asking=None) -> dict:
    """Ask, and let it be computed; returns the last state of each part."""
    state = dict(tab.ask(question, asking or request()))
    for changes in tab.compare(asking or request()):
        state |= changes
    return state


def comparison_of(tab: CompareEvents) -> Comparison:
    return tab.desk(tab.sessions.of("a")).comparison


def looked_at(tab: CompareEvents) -> list[str | None]:
    comparison = comparison_of(tab)
    found = [comparison.word_in(number) for number in range(len(comparison.columns))]
    pairs = zip(comparison.columns, found, strict=True)
    return [None if index is None else column.words[index] for column, index in pairs]


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_columns_differ_in_ocr_alone_and_the_difference_is_marked(tab):
    pipe = Talker()
    own = tab(pipe)
    pipe.requests.clear()
    table = compared(own)["table"]
    asked = [one for one in pipe.requests if one["question"] == "What is this?"]
    assert [one["ocr"] for one in asked] == [False, True]
    assert all(one["evidence_only"] is False and one["sampling"].alternatives == first_token.ASKED for one in asked)
    assert "<ins>TOTAL</ins>" in table and "<del>" not in table.replace("<del>missing</del>", "")
    assert "the reference" in table and "1 word added" in table


def test_no_column_is_faster_for_what_another_has_computed(tab):
    pipe = Talker()
    own = tab(pipe)
    pipe.requests.clear()
    compared(own)
    visitors = [one["visitor"] for one in pipe.requests if one["question"] == "What is this?"]
    assert len(set(visitors)) == 2 and "" not in visitors
    assert set(visitors) <= set(pipe.forgotten)


def test_the_chats_picture_and_question_are_taken_until_others_are(tab, picture):
    own = tab()
    changes = own.shown("", request())
    assert changes["question"] == "What is this?" and compare_start.FROM_CHAT.split("’")[0] in changes["start"]
    assert "question" not in own.shown("Something of my own", request())


def test_an_upload_of_the_tab_is_asked_about_and_deleted(tab, tmp_path):
    pipe = Talker()
    own = tab(pipe)
    path = tmp_path / "up" / "own.png"
    path.parent.mkdir()
    Image.new("RGB", (64, 48), "green").save(path)
    content = path.read_bytes()
    assert compare_start.OWN in own.uploaded(str(path), request())["start"]
    assert not path.exists() and not own.sessions.of("a").uploads
    compared(own)
    assert pipe.requests[-1]["images"] == (content,)
    own.choose(event(picture="chat"), request())
    compared(own)
    assert pipe.requests[-1]["images"] != (content,)


def test_a_file_that_the_composer_holds_too_stays(tab, tmp_path):
    own = tab()
    path = tmp_path / "same.png"
    Image.new("RGB", (64, 48), "green").save(path)
    own.sessions.claim(own.sessions.of("a"), [str(path)])
    own.uploaded(str(path), request())
    assert path.exists()


def test_what_is_no_picture_is_refused_in_a_sentence(tab, tmp_path):
    own = tab()
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    assert "not a picture" in own.uploaded(str(path), request())["start"]


def test_two_pictures_stand_side_by_side(tab, tmp_path):
    pipe = Talker()
    own = tab(pipe)
    own.choose(event(preset="pictures"), request())
    assert presets.NO_SECOND in own.ask("What is this?", request())["start"]
    path = tmp_path / "second.png"
    Image.new("RGB", (64, 48), "green").save(path)
    assert "Take picture 2 off" in own.uploaded([str(path)], request())["start"]
    table = compared(own)["table"]
    first, second = (one["images"] for one in pipe.requests[-2:])
    assert len(first) == len(second) == 1 and first != second
    assert "Picture 1" in table and "Picture 2" in table


def test_other_models_answer_beside_the_shared_one(tab):
    loaded = []

    def load(model, quantize, progress):
        loaded.append((model, quantize))
        return Talker(model, plain="a blue square")

    own = tab(load=load)
    own.choose(event(preset="models"), request())
    table = compared(own)["table"]
    assert loaded == [("other", "none")]
    assert [column.turn.model for column in comparison_of(own).columns] == ["llava", "other"]
    assert "<ins>square</ins>" in table and "<del>circle</del>" in table


def test_precisions_of_the_shared_model_are_compared(tab):
    loaded = []

    def load(model, quantize, progress):
        loaded.append((model, quantize))
        return Talker(model, quantize)

    own = tab(load=load)
    own.choose(event(preset="precision"), request())
    compared(own)
    assert loaded == [("llava", "8bit"), ("llava", "4bit")]
    assert [column.turn.precision for column in comparison_of(own).columns] == ["bf16", "8bit", "4bit"]


@pytest.mark.parametrize("preset", ["models", "precision"])
def test_a_visitor_loads_no_other_model(tab, preset):
    def load(*_):
        raise AssertionError("a visitor had a model loaded")

    own = tab(load=load)
    visitor = request(**VISITOR)
    laid = own.choose(event(preset=preset), visitor)
    assert ONLY_OPERATOR in laid["start"] and "disabled" in laid["start"]
    refused = own.ask("What is this?", visitor)
    assert ONLY_OPERATOR in refused["start"] and comparison_of(own) is None
    own.choose(event(preset="ocr"), visitor)
    assert "<ins>TOTAL</ins>" in compared(own, asking=visitor)["table"]


def test_a_column_that_fails_says_why_and_the_others_are_asked(tab):
    def load(model, quantize, progress):
        if quantize == "8bit":
            raise UnsupportedModel("It can't be packed: <b>too small</b>.")
        return Talker(model, quantize)

    own = tab(load=load)
    own.choose(event(preset="precision"), request())
    table = compared(own)["table"]
    assert "It can&#39;t be packed: &lt;b&gt;too small" in table
    assert [column.turn.state for column in comparison_of(own).columns] == ["done", "failed", "done"]


def test_stop_ends_the_column_and_those_after_it(tab):
    pipe = Talker(plain="word " * 150)
    own = tab(pipe)
    pipe.pause = 0.01
    own.ask("What is this?", request())
    first, *others = (column.turn for column in comparison_of(own).columns)
    state: dict = {}
    for changes in own.compare(request()):
        state |= changes
        if first.said:
            own.halt(request())
    assert first.state == "stopped" and 1 <= len(first.said.split()) < 150
    assert {turn.state for turn in others} == {"stopped"} and not any(turn.said for turn in others)
    assert state["live"] == "" and state["ask"]["interactive"]


def test_a_closed_page_computes_nothing_more(tab):
    pipe = Talker()
    own = tab(pipe)
    own.ask("What is this?", request())
    running = own.compare(request())
    next(running)
    comparison = comparison_of(own)
    own.sessions.close("a")
    list(running)
    assert all(column.turn.state == "stopped" for column in comparison.columns)


def test_comparisons_of_two_pages_go_one_after_the_other(tab):
    own = tab()
    own.ask("What is this?", request())
    first = own.compare(request())
    next(first)
    other = request(session="b")
    with own.sessions.of("b").lock:
        own.sessions.of("b").exchanges.extend(own.sessions.of("a").exchanges)
    own.ask("What is this?", other)
    waiting = own.compare(other)
    assert "1 comparison before it" in next(waiting)["live"]
    list(first)
    assert "before it" not in next(waiting)["live"]
    waiting.close()


def test_a_pressed_word_is_looked_at_in_every_column(tab):
    own = tab()
    compared(own)
    assert looked_at(own) == ["red", "red"]
    table = own.look(event(word=[1, 3]), request())["table"]
    assert looked_at(own) == ["circle", "circle"]
    assert len(re.findall(r'aria-pressed="true"', table)) == 2
    table = own.look(event(word=[1, 2]), request())["table"]  # which the reference lacks
    assert looked_at(own) == [None, "TOTAL"] and "Nothing stands in this word" in table
    own.step(event(by=1), request())
    assert looked_at(own) == ["circle", "circle"]
    own.look(event(word=[7, 90]), request())
    assert looked_at(own) == ["circle", "circle"]


def test_first_tokens_stand_in_one_order_on_one_scale():
    def answer(*candidates):
        tokens = (
            Token(candidates[0][0], 1, candidates[0][1], tuple(Alternative(t, 1, math.log(p)) for t, p in candidates)),
        )
        return type("Told", (), {"tokens": tokens})()

    first, second = answer(("A", 0.6), ("The", 0.3)), answer(("The", 0.7), ("Two", 0.2), ("A", 0.001))
    texts = first_token.shared([first, second])
    assert texts == ["A", "The"]
    told = [[(one.probability, one.likeliest) for one in first_token.of(own, texts)] for own in (first, second)]
    assert told == [[("0.60", True), ("0.30", False)], [("0.00", False), ("0.70", True)]]
    assert first_token.shared([first, answer(("Two", 0.9))]) == ["A", "The", "Two"]
    assert first_token.of(first, ["Two"])[0].probability == "< 0.30"
    assert first_token.of(None, texts) == []


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ("a red circle", "same words"),
        ("a blue circle", "1 word differs"),
        ("a large red circle", "1 word added"),
        ("a circle", "1 word missing"),
        ("the large green circle indeed", "4 words differ"),
    ],
)
def test_differences_are_told_in_words(other, told):
    difference = between("a red circle".split(), other.split())
    assert difference.told == told
    kept = [piece.text for piece in difference.pieces if piece.kind != MISSING]
    lost = [piece.text for piece in difference.pieces if piece.kind != ADDED]
    assert (kept, lost) == (other.split(), "a red circle".split())


def test_texts_of_people_pictures_and_models_are_text(tab):
    pipe = Talker(plain=EVIL, read=f"{EVIL} more")
    own = tab(pipe, question=EVIL)
    changes = own.shown("", request())
    state = compared(own, EVIL)
    for html in (changes["start"], state["start"], state["table"], state["live"]):
        assert "<img src=x" not in html
    assert "&lt;img" in state["table"]
    assert text_of(state["table"]).startswith("${alert(1)} {{x}} &lt;img")


def test_question_and_picture_are_needed(tab):
    own = tab()
    assert "question is empty" in own.ask(" ", request())["start"]
    assert compare_start.NO_PICTURE in own.ask("What?", request(session="fresh"))["start"]


def test_clear_in_the_chat_takes_the_comparison_along(page, picture, monkeypatch):
    monkeypatch.setattr(presets.local, "ocr_missing", lambda settings: None)
    events = page(Talker())
    run(events, events.ask({"text": "What is this?", "files": [str(picture)]}, False, False, request()))
    tab = CompareEvents(events, events.service, PARTS)
    compared(tab)
    old = comparison_of(tab)
    assert old is not None and "TOTAL" in tab._drawn(tab.sessions.of("a"))[PARTS.table]
    events.clear(request())
    assert comparison_of(tab) is None and old.stop.is_set()
    assert "TOTAL" not in tab.shown("", request())[PARTS.table]
