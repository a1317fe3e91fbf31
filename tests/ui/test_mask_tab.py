"""A question asked again without a part of the picture: what is hidden, what is read, and what the page shows."""

from __future__ import annotations

import base64
import threading
from dataclasses import fields, replace

import numpy as np
import pytest

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import event, request, run
from tests.kit.waiting import wait_until
from vlm_demo import Pipeline, Turn
from vlm_demo.contracts.engine import Request
from vlm_demo.engines.local import LocalEngine
from vlm_demo.ui.tabs.mask import mask_panel
from vlm_demo.ui.tabs.mask.mask_tab import NO_ANSWER, NOTHING_DRAWN, MaskEvents, MaskParts, mask_of
from vlm_demo.ui.tabs.mask.masked_answer import Change, MaskedAnswer, hidden, work

EVIL = "${alert(1)} {{x}} <img src=x onerror=alert(2)>"
PARTS = MaskParts(**{handlers.name: handlers.name for handlers in fields(MaskParts)})
QUESTION = "How many circles are there?"


# -- on a tiny checkpoint ---------------------------------------------------------------------------------------------


@pytest.fixture
def engine(pipe: Pipeline) -> LocalEngine:
    return LocalEngine(pipe)


def request_of(noise, *sizes: tuple[int, int]) -> Request:
    images = tuple(noise(width, height) for width, height in sizes)
    return Request(images, QUESTION, max_new_tokens=6)


def first_answer(engine: LocalEngine, question: Request):
    *_, answer = engine.stream(question)
    return answer


def done(engine: LocalEngine, question: Request, first: str, without: MaskedAnswer) -> MaskedAnswer:
    for _ in work(engine, question, first, without):
        pass
    return without


@pytest.mark.parametrize("way", ["blur", "grey"])
def test_an_empty_mask_changes_nothing(engine: LocalEngine, noise, way: str) -> None:
    question = request_of(noise, (90, 70))
    first = first_answer(engine, question)
    without = done(engine, question, first.text, MaskedAnswer(np.zeros((35, 45), bool), way=way))
    assert [token.id for token in without.answer.tokens] == [token.id for token in first.tokens]
    assert without.change.whole == pytest.approx(without.change.without, rel=1e-6)
    assert all(word.whole == pytest.approx(word.without, rel=1e-6) for word in without.change.words)
    assert len(without.change.words) == len(first.words) and without.state == "done"


def test_a_picture_that_is_hidden_altogether_is_the_blurred_one(engine: LocalEngine, noise) -> None:
    """Held against the pipeline's own likelihoods with every patch behind the blur."""
    question = request_of(noise, (64, 64))
    first = engine.explain(question, "two circles and a star")
    change = done(engine, question, first.text, MaskedAnswer(np.ones((5, 5), bool))).change
    patches = len(first.view.boxes)
    masks = np.stack([np.zeros(patches, bool), np.ones(patches, bool)])
    whole, blurred = np.exp(engine.likelihoods(first, masks).mean(-1))
    assert change.whole == pytest.approx(whole, rel=1e-4)
    assert change.without == pytest.approx(blurred, rel=1e-4)
    assert change.whole != pytest.approx(change.without, rel=0.05)  # it does change something


def test_the_picture_that_was_drawn_over_is_the_one_that_changes(noise) -> None:
    current, earlier = noise(40, 30), (noise(50, 50), noise(20, 60))
    question = Request((current,), QUESTION, history=(Turn("And here?", "two", earlier),))
    for number, source in enumerate((*earlier, current)):
        changed, seen = hidden(question, MaskedAnswer(np.ones((1, 1), bool), picture=number, way="grey"))
        pictures = [*changed.history[0].images, *changed.images]
        assert [given is before for given, before in zip(pictures, (*earlier, current), strict=True)] == [
            at != number for at in range(3)
        ]
        assert pictures[number] is seen and seen.size == source.size


# -- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def tab(page, picture):
    """Builds the tab around an engine; the chat has an answer."""

    def build(pipe=None, question=QUESTION) -> MaskEvents:
        events = page(pipe or FakeEngine())
        run(events, events.ask({"text": question, "files": [str(picture)]}, False, True, request()))
        handlers = MaskEvents(events, events.service, PARTS)
        handlers.shown(request())
        return handlers

    return build


def drawn(box: tuple[int, int, int, int] | None = (34, 34, 103, 103)):
    """What the page sends: a rectangle of the cells of a picture of 300 × 200, both ends inside."""
    cells = np.zeros((171, 256), bool)
    if box:
        cells[box[1] : box[3] + 1, box[0] : box[2] + 1] = True
    return event(width=256, height=171, bits=base64.b64encode(np.packbits(cells).tobytes()).decode())


def ask_again(tab: MaskEvents, value) -> dict:
    state = dict(tab.ask(value, request()))
    for changes in tab.ask_again(request()):
        state |= changes
    return state


def test_the_question_is_asked_again_as_the_chat_asked_it_without_the_part(tab):
    pipe = FakeEngine()
    handlers = tab(pipe)
    pipe.answer = "a small purple star"
    answers = ask_again(handlers, drawn())["answers"]
    before, after = pipe.requests[0], pipe.requests[-1]
    for name in ("question", "ocr", "evidence_only", "visitor", "history", "ocr_settings"):
        assert after[name] == before[name]
    (seen,) = after["images"]
    assert seen.size == (300, 200) and seen.getpixel((5, 5)) == (255, 255, 255)
    assert seen.getpixel((80, 80)) != (255, 0, 0) != seen.getpixel((60, 60))  # the red circle is gone
    assert "<del>large</del>" in answers and "<ins>small</ins>" in answers and "as likely" in answers


def test_nothing_drawn_is_refused_and_nothing_asked(tab):
    pipe = FakeEngine()
    handlers = tab(pipe)
    asked_before = len(pipe.requests)
    assert (
        NOTHING_DRAWN in ask_again(handlers, drawn(None))["start"]
        and NOTHING_DRAWN in ask_again(handlers, event())["start"]
    )
    assert len(pipe.requests) == asked_before


def test_without_an_answer_there_is_nothing_to_ask_again(page):
    events = page()
    handlers = MaskEvents(events, events.service, PARTS)
    assert mask_panel.EMPTY in handlers.shown(request())["answers"]
    assert NO_ANSWER in handlers.ask(drawn(), request())["start"]


def test_a_new_answer_brings_its_own_picture_and_a_cleared_chat_none(tab):
    handlers = tab()
    session = handlers.sessions.of("a")
    first = handlers.shown(request())["paper"]
    ask_again(handlers, drawn())
    assert handlers.shown(request())["paper"] == first  # a drawing over the same picture stays
    turn = session.exchanges[0]
    session.exchanges.append(replace(turn, ticket=turn.ticket + 1000))
    changes = handlers.shown(request())
    assert changes["paper"] != first and "Without what you hid" not in changes["answers"]
    session.cut(0)
    changes = handlers.shown(request())
    assert changes["paper"] == "" and mask_panel.EMPTY in changes["answers"]


def test_what_was_removed_is_held_no_longer(tab):
    handlers = tab()
    ask_again(handlers, drawn())
    state = handlers.state(session := handlers.sessions.of("a"))
    assert state.turn is session.last and state.masked
    before = state.masked
    session.cut(0)
    assert state.turn is None and state.masked is None and before.stop.is_set()


def test_what_is_drawn_is_never_on_disk(tab, tmp_path):
    handlers = tab()
    before = set(tmp_path.rglob("*"))
    ask_again(handlers, drawn())
    assert set(tmp_path.rglob("*")) == before and not handlers.sessions.of("a").uploads


def test_another_model_in_service_says_so(tab):
    handlers = tab()
    handlers.service._engine = FakeEngine("other")
    answers = ask_again(handlers, drawn())["answers"]
    assert "other (bf16) is in service now" in answers


def test_stop_takes_effect(tab):
    pipe = FakeEngine()
    handlers = tab(pipe)
    pipe.answer, pipe.pause = "word " * 150, 0.01
    handlers.ask(drawn(), request())
    masked = handlers.state(handlers.sessions.of("a")).masked
    state: dict = {}
    for changes in handlers.ask_again(request()):
        state |= changes
        if masked.answer_text:
            handlers.halt(request())
    assert masked.state == "stopped" and 1 <= len(masked.answer_text.split()) < 150 and state["live"] == ""
    assert "disabled" not in state["start"]


def test_a_second_press_while_the_model_is_waited_for_asks_once(tab):
    pipe = FakeEngine()
    handlers = tab(pipe)
    with handlers.service._use.exchange():
        handlers.ask(drawn(), request())
        first = threading.Thread(target=lambda: list(handlers.ask_again(request())))
        first.start()
        assert wait_until(lambda: handlers.state(handlers.sessions.of("a")).masked.started)
        (skipped,) = handlers.ask_again(request())
    first.join()
    assert "__type__" in skipped["live"] and [asked["question"] for asked in pipe.requests] == [QUESTION] * 2


def test_grey_is_chosen_and_what_there_is_not_changes_nothing(tab):
    pipe = FakeEngine()
    handlers = tab(pipe)
    handlers.choose(event(way="grey"), request())
    handlers.choose(event(way="smear"), request())
    handlers.choose(event(picture=7), request())
    ask_again(handlers, drawn())
    assert pipe.requests[-1]["images"][0].getpixel((80, 80)) == (127, 127, 127)


def test_what_the_page_sends_is_read_cell_by_cell():
    mask = mask_of(drawn((3, 5, 9, 8)))
    assert mask.shape == (171, 256) and mask.sum() == 7 * 4 and mask[5, 3] and mask[8, 9] and not mask[9, 9]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"width": 256, "height": 171, "bits": "no base64"},
        {"width": 256, "height": 171, "bits": "AAAA"},  # too few
        {"width": 10**6, "height": 10**6, "bits": "AAAA"},
        {"width": -4, "height": 2, "bits": "AAAA"},
        {"width": "8", "height": 1, "bits": "AAAA"},
        {"width": 8, "height": 1, "bits": "A" * 10**6},
    ],
)
def test_what_is_no_drawing_is_none(data):
    assert mask_of(event(**data)) is None


@pytest.mark.parametrize(
    ("whole", "without", "sentence"),
    [(0.6, 0.58, "as likely"), (0.6, 0.2, "3.0 times less likely"), (0.2, 0.5, "2.5 times likelier")],
)
def test_the_headline_says_what_was_measured(whole, without, sentence):
    assert sentence in mask_panel.headline(Change(whole, without, ()))


def test_texts_of_people_and_models_are_text(tab):
    handlers = tab(FakeEngine(answer=EVIL), question=EVIL)
    answers = ask_again(handlers, drawn())["answers"]
    assert "<img src=x" not in answers and answers.count("&lt;img") >= 3
