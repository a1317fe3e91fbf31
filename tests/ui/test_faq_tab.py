"""The tab FAQ: what the experiments found on the shipped model, and two of them tried on an engine that is known."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import event, request, run
from vlm_demo.contracts import OcrResult
from vlm_demo.contracts.engine import Event, Request
from vlm_demo.errors import BadQuestion
from vlm_demo.images.drawn_words import drawn
from vlm_demo.intervals import wilson
from vlm_demo.ui.tabs.faq import panel, results, trial
from vlm_demo.ui.tabs.faq.faq_tab import NO_QUESTION, FaqEvents, FaqParts

EVIL = "${alert(1)} {{x}} <img src=x onerror=alert(2)>"
PARTS = FaqParts(**{handlers.name: handlers.name for handlers in fields(FaqParts)})
BLANK = (128, 128, 128)


class Known(FakeEngine):
    """Of pictures it says "star" and of grey ones "fog", by the rule "unknown"; OCR reads every drawn word, and the
    model by itself the largest of them alone, but repeats what OCR read."""

    def __init__(self, star: str = "star") -> None:
        super().__init__()
        self.star = star
        self.words = {drawn(word, height, trial.SIZE).tobytes(): (word, height) for word, height in trial.DRAWN}

    def stream(self, requests: Request) -> Iterator[Event]:
        *_, answer = super().stream(requests)
        image = answer.views[-1].image
        word, height = self.words.get(image.tobytes(), ("", 0))
        if word:
            text = word if requests.ocr or height > 100 else "nothing here"
        else:
            text = "fog" if image.getpixel((0, 0)) == BLANK else "unknown" if requests.evidence_only else self.star
        read = OcrResult(word, (), 0.1) if requests.ocr else None
        yield replace(answer, text=text, ocr=read)


@pytest.fixture
def tab(page, picture):
    """Builds the tab around an engine; the chat has an answer unless ``question`` is empty."""

    def build(pipe=None, question: str = "What is it?") -> FaqEvents:
        events = page(pipe or Known())
        if question:
            run(events, events.ask({"text": question, "files": [str(picture)]}, False, True, request()))
        return FaqEvents(events, events.service, PARTS)

    return build


def tried(tab: FaqEvents, name: object) -> dict:
    state = dict(tab.choose(event(experiment=name), request()))
    for changes in tab.work(request()):
        state |= changes
    return state


def test_confident_but_wrong_is_tried_on_the_visitors_picture(tab) -> None:
    pipe = Known()
    handlers = tab(pipe)
    before = len(pipe.requests)
    state = tried(handlers, "wrong")
    rows = handlers.state(handlers.sessions.of("a")).trial.rows
    assert [row.answer for row in rows] == ["star", "fog", "unknown"]
    requests = pipe.requests[before:]
    assert [given["evidence_only"] for given in requests] == [False, False, True]
    assert {given["question"] for given in requests} == {"What is it?"} and {given["ocr"] for given in requests} == {
        False
    }
    assert "Without the picture the answer is another." in state["tried"] and state["live"] == ""
    assert "probability 0.93" in state["tried"]


def test_the_finding_is_another_where_habit_answers(tab) -> None:
    state = tried(tab(Known("fog")), "wrong")
    assert "A blank picture gets the same answer" in state["tried"]


def test_whether_it_replaces_ocr_is_tried_on_drawn_words_and_the_visitors_picture(tab) -> None:
    pipe = Known()
    handlers = tab(pipe)
    state = tried(handlers, "ocr")
    found = handlers.state(handlers.sessions.of("a")).trial
    assert "read 1 of 3 by itself, OCR 3 of 3, and the two together 3 of 3" in found.finding
    figures = [row.figure for row in found.rows]
    assert figures == ["wrong", "right", "right"] * 2 + ["right"] * 3 + [""] * 3
    assert found.rows[9].about == "your picture: pixels alone" and found.rows[9].answer == "star"
    assert state["tried"].count("<img") == 4


def test_without_a_chat_the_drawn_words_are_tried_and_the_picture_asked_for(tab) -> None:
    handlers = tab(question="")
    assert NO_QUESTION in tried(handlers, "wrong")["tried"]
    tried(handlers, "ocr")
    assert len(handlers.state(handlers.sessions.of("a")).trial.rows) == 9


@pytest.mark.parametrize("name", ["bigger", "nothing", None, 3])
def test_what_can_not_be_tried_changes_nothing(tab, name) -> None:
    pipe = Known()
    handlers = tab(pipe)
    before = len(pipe.requests)
    tried(handlers, name)
    assert len(pipe.requests) == before and handlers.state(handlers.sessions.of("a")).trial is None


def test_stop_takes_effect_between_two_questions(tab) -> None:
    handlers = tab()
    handlers.choose(event(experiment="ocr"), request())
    steps = handlers.work(request())
    next(steps)
    handlers.halt(request())
    *_, last = steps
    found = handlers.state(handlers.sessions.of("a")).trial
    assert found.state == "stopped" and len(found.rows) < 9 and "Stopped." in last["tried"]
    assert last["live"] == ""


def test_a_refusal_is_one_sentence(tab, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Known()
    handlers = tab(pipe)

    def refuse(_request: Request) -> Iterator[Event]:
        raise BadQuestion("The question does not fit: shorten it.")
        yield

    monkeypatch.setattr(pipe, "stream", refuse)
    state = tried(handlers, "wrong")
    assert "The question does not fit: shorten it." in state["tried"] and state["live"] == ""


def test_what_was_taken_back_is_held_no_longer(tab) -> None:
    handlers = tab()
    tried(handlers, "wrong")
    state = handlers.state(session := handlers.sessions.of("a"))
    session.cut(0)
    assert state.trial is None and state.turn is None


def test_texts_of_people_and_models_are_text(tab) -> None:
    state = tried(tab(Known(EVIL), EVIL), "wrong")
    assert "<img src=x" not in state["tried"] and "&lt;img" in state["tried"]


# -- what was found ---------------------------------------------------------------------------------------------------


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a result where the shipped ones lie."""
    monkeypatch.setattr(results, "folder", lambda name: tmp_path / name)
    results._read.cache_clear()
    (tmp_path / "experiments").mkdir()

    def put(name: str, finding: dict) -> None:
        (tmp_path / "experiments" / f"{name}.json").write_text(json.dumps(finding))

    yield put
    results._read.cache_clear()


def test_without_results_each_experiment_says_how_to_get_them(found) -> None:
    text = panel.draw()
    assert all(f"experiment {name} measures it" in text for name in panel.QUESTIONS)


def test_bars_lie_on_one_scale_with_their_intervals(found) -> None:
    groups = {
        "right": {"n": 40, "confidence": 0.7, "same_on_blank": 0.25, "unknown_with_rule": 0.0},
        "wrong": {"n": 60, "confidence": 0.5, "same_on_blank": 0.4, "unknown_with_rule": 0.1},
    }
    found("wrong", {"sentence": "It is sure.", **groups})
    bars = results.of("wrong").bars
    assert [(bar.start, bar.end) for bar in bars] == [(0, 70), (0, 50), (0, 25), (0, 40), (0, 0), (0, 10)]
    assert bars[0].low is None and bars[0].shown == "0.70"
    low, high = wilson(24, 60)
    assert (bars[3].low, bars[3].high) == (round(100 * low, 1), round(100 * high, 1))
    assert "It is sure." in panel.draw()


def test_points_that_were_gained_lie_around_zero(found) -> None:
    gains = [
        {"have": "30 layers", "lack": "15 layers", "mean": 0.1, "low": 0.05, "high": 0.2},
        {"have": "288 px", "lack": "192 px", "mean": -0.05, "low": -0.1, "high": 0.0},
    ]
    found("bigger", {"sentence": "s", "gains": gains, "variants": [{"n": 100, "steps": 60}]})
    finding = results.of("bigger")
    first, second = finding.bars
    assert finding.zero == 50 and (first.start, first.end) == (50, 75) and (first.low, first.high) == (62.5, 100)
    assert (second.start, second.end, second.high) == (37.5, 50, 50) and second.shown == "-5 (-10 to +0)"


def test_a_sweep_is_drawn_on_a_scale_of_logarithms(found) -> None:
    shares = {way: {"10": 0.0, "40": 0.5, "160": 1.0} for way, _ in results.LINES}
    found("ocr", {"sentence": "s", "shares": shares})
    finding = results.of("ocr")
    first, middle, last = (tuple(map(float, point.split(","))) for point in finding.lines[0].points.split())
    assert middle[0] == pytest.approx((first[0] + last[0]) / 2, abs=0.1) and math.isclose(last[1], results.TOP)
    assert first[1] > middle[1] > last[1] and [label for _, label in finding.ticks] == ["10", "40", "160"]


def test_orders_are_shown_for_both_ways(found) -> None:
    counts = {way: {"right": 30, "obeyed": 10, "quoted": 0, "another answer": 0} for way in ("without", "with")}
    found("orders", {"sentence": "s", "asked": 40, "counts": counts})
    labels = [bar.label for bar in results.of("orders").bars]
    assert labels[:3] == ["right, without", "right, with", "obeyed, without"]
