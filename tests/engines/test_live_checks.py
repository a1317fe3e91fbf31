"""What was open in a checklist is measured by asking again: Tesseract, the badge, a blank picture."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.kit.fake_engine import FakeEngine
from tests.kit.views import read
from vlm_demo import Pipeline, Turn
from vlm_demo.contracts import Answer
from vlm_demo.contracts.checks import FAIL, HALLUCINATION, NAMES, OPEN, PASS, SMALL_TEXT
from vlm_demo.contracts.engine import Request
from vlm_demo.engines import live_checks
from vlm_demo.engines.local import LocalEngine
from vlm_demo.errors import OcrUnavailable, Stopped
from vlm_demo.stages import ocr

QUESTION = "What colour is the star?"


@pytest.fixture
def engine(pipe: Pipeline) -> LocalEngine:
    return LocalEngine(pipe)


def answered(engine: LocalEngine, request: Request) -> Answer:
    return next(event for event in engine.stream(request) if isinstance(event, Answer))


def by_name(checks: tuple, name: str):
    return next(check for check in checks if check.name == name)


def test_a_picture_with_small_letters_is_read_and_found(engine: LocalEngine) -> None:
    page = Image.new("RGB", (900, 900), "white")
    font = ImageFont.load_default(24)
    for row in range(10):
        ImageDraw.Draw(page).text((60, 60 + 70 * row), "Harbour bakery total amount 12.50", "black", font)
    answer = answered(engine, Request((page,), QUESTION, max_new_tokens=2))
    assert by_name(answer.checks, SMALL_TEXT).verdict == OPEN
    check = by_name(live_checks.complete(engine, answer), SMALL_TEXT)
    assert check.verdict == FAIL and int(check.values["words"]) > 20
    # 48 of 900 pixels: the letters are a pixel high.
    assert 0.5 < float(check.values["seen_height"]) < 2.0


def test_the_five_are_complete_and_in_order(engine: LocalEngine, noise, monkeypatch) -> None:
    monkeypatch.setattr(ocr, "read", lambda *_: read())
    answer = answered(engine, Request((noise(60, 60),), QUESTION, max_new_tokens=3))
    checks = live_checks.complete(engine, answer, blank=True)
    assert tuple(check.name for check in checks) == NAMES
    assert by_name(checks, HALLUCINATION).values["level"] is not None
    assert by_name(checks, HALLUCINATION).values["with_blank"] is not None


def test_a_picture_is_read_once_for_the_check_and_for_a_later_question(engine: LocalEngine, noise, monkeypatch) -> None:
    engine.forget()
    readings: list[int] = []
    monkeypatch.setattr(ocr, "read", lambda *_: readings.append(1) or read())
    live_checks.complete(engine, answered(engine, Request((noise(60, 60),), QUESTION, max_new_tokens=1)))
    asked = Request((noise(60, 60),), QUESTION, ocr=True, max_new_tokens=1)
    assert answered(engine, asked).ocr.cached and len(readings) == 1
    engine.forget()


def test_what_the_blank_picture_left_goes_with_its_visitor(engine: LocalEngine, noise) -> None:
    engine.forget()
    answer = answered(engine, Request((noise(60, 60),), QUESTION, max_new_tokens=1, visitor="one"))
    live_checks.about_blank(engine, answer)
    assert engine.pipeline.remembered.bytes > 0
    engine.forget("one")
    assert engine.pipeline.remembered.bytes == 0


def test_the_blank_picture_is_asked_the_same(engine: LocalEngine, noise) -> None:
    """Against plain probabilities: what ``explain`` gives for a grey picture of the same size."""
    answer = answered(engine, Request((noise(80, 40),), QUESTION, max_new_tokens=3))
    found = live_checks.about_blank(engine, answer)
    grey = Image.new("RGB", (80, 40), (128, 128, 128))
    tokens = len(answer.tokens) + live_checks.MORE
    assert found.text == engine.pipeline.ask(grey, QUESTION, max_new_tokens=tokens).text
    given = [token.probability for token in engine.pipeline.explain(grey, QUESTION, answer.text).tokens]
    assert found.with_blank == pytest.approx(np.exp(np.mean(np.log(given))), rel=1e-4)
    probabilities = [token.probability for token in answer.tokens]
    assert found.with_picture == pytest.approx(math.prod(probabilities) ** (1 / len(probabilities)), rel=1e-4)


def test_the_pictures_of_earlier_turns_are_blank_too(engine: LocalEngine, noise, monkeypatch) -> None:
    history = (Turn("What is it?", "a star", (noise(60, 60),)),)
    answer = answered(engine, Request((), "How many?", evidence_only=True, max_new_tokens=2, history=history))
    seen = []
    stream = engine.stream
    monkeypatch.setattr(engine, "stream", lambda request: seen.append(request) or stream(request))
    live_checks.about_blank(engine, answer)
    (request,) = seen
    ((picture,),) = (turn.images for turn in request.history)
    assert request.images == () and request.evidence_only and picture.size == (60, 60)
    assert picture.getcolors() == [(3600, (128, 128, 128))]


def test_without_tesseract_the_check_stays_open_and_says_what_to_install(engine, noise, monkeypatch) -> None:
    def missing(*_: object) -> None:
        raise OcrUnavailable("Install Tesseract.")

    monkeypatch.setattr(ocr, "read", missing)
    answer = answered(engine, Request((noise(60, 60),), QUESTION, max_new_tokens=1))
    check = by_name(live_checks.complete(engine, answer), SMALL_TEXT)
    assert check.verdict == OPEN and check.remedy == "Install Tesseract."


def test_it_can_be_stopped(engine: LocalEngine, noise, monkeypatch) -> None:
    monkeypatch.setattr(ocr, "read", lambda *_: read())
    answer = answered(engine, Request((noise(60, 60),), QUESTION, max_new_tokens=1))
    with pytest.raises(Stopped):
        live_checks.complete(engine, answer, blank=True, cancelled=lambda: True)


def test_an_engine_that_cannot_explain_still_gets_its_blank_answer(noise) -> None:
    engine = FakeEngine()
    engine.capabilities = replace(engine.capabilities, explains=False)
    asked = Request((noise(60, 60),), QUESTION)
    answer = next(event for event in engine.stream(asked) if isinstance(event, Answer))
    found = live_checks.about_blank(engine, answer)
    assert found.text == answer.text and found.with_blank is None
    assert live_checks.hallucination.check(False, answer.text, None, found).verdict != PASS
