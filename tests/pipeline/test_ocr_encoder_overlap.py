"""Text is read while the vision encoder works, and the times say so."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest

from tests.kit.tiny import tiny_llava
from tests.kit.waiting import wait_until
from vlm_demo.contracts import OcrResult, StageEvent
from vlm_demo.contracts.engine import Request, answered
from vlm_demo.errors import Stopped
from vlm_demo.pipeline import Pipeline
from vlm_demo.pipeline.inputs import open_views, read_text, result_of
from vlm_demo.runtime.stage_clock import StageClock

QUESTION = "What is there?"


@pytest.fixture
def pipe(tmp_path) -> Pipeline:
    return Pipeline.from_pretrained(tiny_llava(tmp_path / "tiny"), remember=0)


def plant(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch, read=lambda: None, encode=lambda: None) -> None:
    """Have ``read`` called where text is read, and ``encode`` before the encoder works."""

    def reader(*_):
        read()
        return OcrResult("12.50", (), 0.0)

    model = pipe.stages()
    encoder = model.features.encoder

    def slow(*given):
        encode()
        return encoder(*given)

    monkeypatch.setattr("vlm_demo.stages.ocr.read", reader)
    monkeypatch.setattr(model.features, "encoder", slow)


def test_each_waits_for_the_other_to_begin(pipe, noise, monkeypatch):
    together = threading.Barrier(2)
    plant(pipe, monkeypatch, lambda: together.wait(20), lambda: together.wait(20))
    events = list(pipe.stream(noise(60, 60), QUESTION, ocr=True, max_new_tokens=3))
    stages = [event for event in events if isinstance(event, StageEvent)]
    assert [event.name for event in stages] == ["view", "ocr", "prompt", "encoder", "bridge", "prefill", "decode"]
    assert stages[3].facts.overlaps_ocr
    assert events[-1].ocr.text == "12.50"


def test_without_ocr_nothing_runs_concurrently(pipe, noise):
    events = pipe.stream(noise(60, 60), QUESTION, max_new_tokens=3)
    (encoder,) = (event for event in events if isinstance(event, StageEvent) and event.name == "encoder")
    assert not encoder.facts.overlaps_ocr


def test_the_answer_is_the_same(pipe, noise, monkeypatch):
    plant(pipe, monkeypatch)
    concurrent = pipe.ask(noise(60, 60), QUESTION, ocr=True, max_new_tokens=5)
    request, clock = Request((noise(60, 60),), QUESTION, ocr=True, max_new_tokens=5), StageClock()
    opened = result_of(open_views(request, pipe.view, clock))
    read = result_of(read_text(request, opened, pipe.reader, clock))
    after = result_of(pipe.stages().write(request, read, clock, True)).written
    assert read.encoded is None
    assert after.tokens == concurrent.tokens


class Late(threading.local):
    """By how many seconds a thread is later than it is; each has its own."""

    seconds = 0.0

    def by(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.mark.parametrize(("ocr", "encoder"), [(9000, 8000), (8000, 9000)])
def test_the_longer_one_counts_and_no_wait_for_a_turn(pipe, noise, monkeypatch, ocr, encoder):
    late, clock = Late(), time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + late.seconds)
    plant(pipe, monkeypatch, lambda: late.by(ocr), lambda: late.by(encoder))
    turns = []

    @contextmanager
    def busy():
        late.by(50_000)
        turns.append(1)
        yield

    request = Request((noise(60, 60),), QUESTION, ocr=True, max_new_tokens=1)
    times = answered(pipe.answer(request, busy)).timings
    assert len(turns) == 1  # to write; the encoder takes none
    assert ocr <= times.ocr < ocr + 500 and encoder <= times.encoder < encoder + 500
    rest = times.view + times.prompt + times.bridge + times.prefill
    assert 9000 <= times.first_token - rest < 9500


def test_what_goes_wrong_in_one_ends_the_other(pipe, noise, monkeypatch):
    seen = []

    def reader(image, cancelled, settings):
        seen.append(wait_until(cancelled))
        raise Stopped("Stopped while text was read.")

    def fail():
        raise RuntimeError("planted")

    plant(pipe, monkeypatch, encode=fail)
    monkeypatch.setattr("vlm_demo.stages.ocr.read", reader)
    with pytest.raises(RuntimeError, match="planted"):
        pipe.ask(noise(60, 60), QUESTION, ocr=True)
    assert seen == [True]
