"""A request's pictures: how large they are opened, and when that ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vlm_demo import Turn
from vlm_demo.contracts.engine import Request, answered
from vlm_demo.engines.local import LocalEngine
from vlm_demo.errors import Stopped
from vlm_demo.images import decode
from vlm_demo.pipeline import Pipeline
from vlm_demo.pipeline.inputs import open_views, result_of
from vlm_demo.runtime.stage_clock import StageClock


def test_many_pictures_share_the_pixels_of_a_request(pipe: Pipeline, noise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "REQUEST_PIXELS", 10_000)
    pictures = tuple(noise(60, 50, seed) for seed in range(6))
    request = Request(pictures[:3], "What is there?", max_new_tokens=1)
    engine = LocalEngine(pipe)
    assert [view.size for view in answered(engine.stream(request)).views] == [(60, 50)] * 3
    many = replace(request, history=(Turn("What is it?", "noise", pictures[3:]),))
    answer = answered(engine.stream(many))
    assert [view.size for view in answer.views] == [(30, 25)] * 6
    assert [view.size for view in engine.explain(many, "a star").views] == [(30, 25)] * 6
    assert [view.size for view in engine.with_pictures(answer, pictures).views] == [(30, 25)] * 6


def test_a_cancelled_request_opens_no_further_picture(pipe: Pipeline, noise) -> None:
    opened = []

    def view(source, visitor):
        opened.append(source)
        return pipe.view(source, visitor)

    request = Request((noise(60, 60),) * 4, "What is there?", cancelled=lambda: len(opened) == 2)
    with pytest.raises(Stopped):
        result_of(open_views(request, view, StageClock()))
    assert len(opened) == 2


def test_a_cancelled_request_waits_no_longer_for_files_of_others(pipe: Pipeline, monkeypatch) -> None:
    given = []
    monkeypatch.setattr("vlm_demo.stages.view.open_image", lambda source, **named: given.append(named) or fail())

    def fail():
        raise Stopped("Stopped before it began.")

    def cancelled() -> bool:
        return False

    with pytest.raises(Stopped):
        list(pipe.answer(Request((b"",), "What is there?", cancelled=cancelled)))
    assert given[0]["cancelled"] is cancelled
