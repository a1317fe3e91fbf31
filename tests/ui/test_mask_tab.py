"""A question asked again without a part of the picture: what is hidden, what is read, and what the page shows."""

from __future__ import annotations

import threading
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import event, request, run
from vlm_demo import Pipeline, Turn
from vlm_demo.contracts.engine import Request
from vlm_demo.engines.local import LocalEngine
from vlm_demo.ui.tabs.mask import mask_panel
from vlm_demo.ui.tabs.mask.mask_tab import NO_ANSWER, NOTHING_DRAWN, MaskEvents, MaskParts, mask_of
from vlm_demo.ui.tabs.mask.without import Change, Without, hidden, work

EVIL = "${alert(1)} {{x}} <img src=x onerror=alert(2)>"
PARTS = MaskParts(**{own.name: own.name for own in fields(MaskParts)})
QUESTION = "How many circles are there?"


# -- on a tiny checkpoint ---------------------------------------------------------------------------------------------


@pytest.fixture
def engine(pipe: Pipeline) -> LocalEngine:
    return LocalEngine(pipe)


def asked(noise, *sizes: tuple[int, int]) -> Request:
    images = tuple(noise(width, height) for width, height in sizes)
    return Request(images, QUESTION, max_new_tokens=6)


def first_answer(engine: LocalEngine, question: Request):
    *_, answer = engine.stream(question)
    return answer


def done(engine: LocalEngine, question: Request, first: str, without: Without) -> Without:
    for _ in work(engine, question, first, without):
        pass
    return without


@pytest.mark.parametrize("way", ["blur", "grey"])
def test_an_empty_mask_changes_nothing(engine: LocalEngine, noise, way: str) -> None:
    question = asked(noise, (90, 70))
    first = first_answer(engine, question)
    without = done(engine, question, first.text, Without(np.zeros((35, 45), bool), way=way))
    assert [token.id for token in without.answer.tokens] == [token.id for token in first.tokens]
    assert without.change.whole == pytest.approx(without.change.without, rel=1e-6)
    assert all(word.whole == pytest.approx(word.without, rel=1e-6) for word in without.change.words)
    assert len(without.change.words) == len(first.words) and without.state == "done"


def test_a_picture_that_is_hidden_altogether_is_the_blurred_one(engine: LocalEngine, noise) -> None:
    """Held against the pipeline's own likelihoods with every patch behind the blur."""
    question = asked(noise, (64, 64))
    first = engine.explain(question, "two circles and a star")
    change = done(engine, question, first.text, Without(np.ones((5, 5), bool))).change
    patches = len(first.view.boxes)
    masks = np.stack([np.zeros(patches, bool), np.ones(patches, bool)])
    whole, blurred = np.exp(engine.likelihoods(first, masks).mean(-1))
    assert change.whole == pytest.approx(whole, rel=1e-4)
    assert change.without == pytest.approx(blurred, rel=1e-4)
    assert change.whole != pytest.approx(change.without, rel=0.05)  # it does change something


def test_the_picture_that_was_drawn_over_is_the_one_that_changes(noise) -> None:
    own, earlier = noise(40, 30), (noise(50, 50), noise(20, 60))
    question = Request((own,), QUESTION, history=(Turn("And here?", "two", earlier),))
    for number, source in enumerate((*earlier, own)):
        changed, seen = hidden(question, Without(np.ones((1, 1), bool), picture=number, way="grey"))
        pictures = [*changed.history[0].images, *changed.images]
        assert [given is before for given, before in zip(pictures, (*earlier, own), strict=True)] == [
            at != number for at in range(3)
        ]
        assert pictures[number] is seen and seen.size == source.size


# -- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def tab(page, picture, tmp_path, monkeypatch):
    """Builds the tab around an engine; the chat has an answer."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))

    def build(pipe=None, question=QUESTION) -> MaskEvents:
        events = page(pipe or FakeEngine())
        run(events, events.ask({"text": question, "files": [str(picture)]}, False, True, request()))
        own = MaskEvents(events, events.service, PARTS)
        own.shown(request())
        return own

    return build


def drawn(box: tuple[int, int, int, int] | None = (40, 40, 120, 120)) -> dict:
    """What the editor sends: a layer as large as its picture."""
    layer = Image.new("RGBA", (300, 200), (0, 0, 0, 0))
    if box:
        ImageDraw.Draw(layer).rectangle(box, fill=(181, 67, 44, 120))
    return {"background": Image.new("RGBA", (300, 200), "white"), "layers": [layer], "composite": None}


def again(tab: MaskEvents, value: dict) -> dict:
    state = dict(tab.ask(value, request()))
    for changes in tab.again(request()):
        state |= changes
    return state


def test_the_question_is_asked_again_as_the_chat_asked_it_without_the_part(tab):
    pipe = FakeEngine()
    own = tab(pipe)
    pipe.answer = "a small purple star"
    said = again(own, drawn())["said"]
    before, after = pipe.requests[0], pipe.requests[-1]
    for name in ("question", "ocr", "evidence_only", "visitor", "history", "ocr_settings"):
        assert after[name] == before[name]
    (seen,) = after["images"]
    assert seen.size == (300, 200) and seen.getpixel((5, 5)) == (255, 255, 255)
    assert seen.getpixel((80, 80)) != (255, 0, 0) != seen.getpixel((60, 60))  # the red circle is gone
    assert "<del>large</del>" in said and "<ins>small</ins>" in said and "as likely" in said


def test_nothing_drawn_is_refused_and_nothing_asked(tab):
    pipe = FakeEngine()
    own = tab(pipe)
    asked_before = len(pipe.requests)
    assert NOTHING_DRAWN in again(own, drawn(None))["start"] and NOTHING_DRAWN in again(own, None)["start"]
    assert len(pipe.requests) == asked_before


def test_without_an_answer_there_is_nothing_to_ask_again(page):
    events = page()
    own = MaskEvents(events, events.service, PARTS)
    assert mask_panel.EMPTY in own.shown(request())["said"]
    assert NO_ANSWER in own.ask(drawn(), request())["start"]


def test_the_file_in_the_editor_is_the_pages_own_and_goes_with_it(tab, picture):
    own = tab()
    session = own.sessions.of("a")
    file = Path(own.desk(session).file)
    assert file.exists() and str(file) in session.uploads
    assert Image.open(file).size == (300, 200)
    assert own.shown(request()).get("editor") is None  # a drawing over the same picture stays
    own.sessions.close("a")
    assert not file.exists()


def test_a_new_answer_brings_its_own_picture_and_the_old_file_goes(tab, tmp_path):
    own = tab()
    session = own.sessions.of("a")
    old = Path(own.desk(session).file)
    session.exchanges[0].answer = replace(session.exchanges[0].answer)
    newer = replace(session.exchanges[0])
    session.exchanges.append(newer)
    changes = own.shown(request())
    assert changes["editor"]["background"] != str(old) and not old.exists()
    session.cut(0)
    changes = own.shown(request())
    assert changes["editor"] is None and mask_panel.EMPTY in changes["said"] and not session.uploads


def test_another_model_in_service_says_so(tab):
    own = tab()
    own.service._engine = FakeEngine("other")
    said = again(own, drawn())["said"]
    assert "other (bf16) is in service now" in said


def test_stop_is_heard(tab):
    pipe = FakeEngine()
    own = tab(pipe)
    pipe.answer, pipe.pause = "word " * 150, 0.05
    own.ask(drawn(), request())
    threading.Timer(0.5, lambda: own.halt(request())).start()
    state: dict = {}
    for changes in own.again(request()):
        state |= changes
    assert own.desk(own.sessions.of("a")).without.stop.is_set() and state["live"] == ""
    assert state["ask"]["interactive"]


def test_grey_is_chosen_and_what_there_is_not_changes_nothing(tab):
    pipe = FakeEngine()
    own = tab(pipe)
    own.choose(event(way="grey"), request())
    own.choose(event(way="smear"), request())
    own.choose(event(picture=7), request())
    again(own, drawn())
    assert pipe.requests[-1]["images"][0].getpixel((80, 80)) == (127, 127, 127)


def test_what_is_drawn_in_any_layer_counts():
    value = drawn((0, 0, 9, 9))
    value["layers"].append(drawn((20, 20, 29, 29))["layers"][0])
    mask = mask_of(value)
    assert mask.shape == (200, 300) and mask.sum() == 200 and mask[5, 5] and mask[25, 25]
    assert mask_of(None) is None and mask_of({"layers": []}) is None


@pytest.mark.parametrize(
    ("whole", "without", "said"),
    [(0.6, 0.58, "as likely"), (0.6, 0.2, "3.0 times less likely"), (0.2, 0.5, "2.5 times likelier")],
)
def test_the_headline_says_what_was_measured(whole, without, said):
    assert said in mask_panel.headline(Change(whole, without, ()))


def test_texts_of_people_and_models_are_text(tab):
    own = tab(FakeEngine(answer=EVIL), question=EVIL)
    said = again(own, drawn())["said"]
    assert "<img src=x" not in said and said.count("&lt;img") >= 3
