"""What an engine is asked to compute for one question."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from vlm_demo.api import model_requests
from vlm_demo.api.model_requests import RequestedExtras, RequestOutcome
from vlm_demo.contracts.engine import Request
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import VlmDemoError


@pytest.mark.parametrize("fails", [False, True])
def test_the_badge_is_measured_once(fails: bool) -> None:
    calls: list[str] = []

    class Counting(FakeEngine):
        def grounding(self, answer, **_):
            calls.append(answer.text)
            if fails:
                raise VlmDemoError("No attention was recorded.")
            return super().grounding(answer)

    request = Request((Image.new("RGB", (9, 9)),), "What is it?")
    service = ModelRegistry(Counting(), lambda *_: Counting(), "llava")
    *_, outcome = model_requests.ask(service, request, RequestedExtras(grounding=True, checklist=True))
    assert isinstance(outcome, RequestOutcome) and outcome.checks and len(calls) == 1
    assert (outcome.grounding is None) == fails and bool(outcome.no_grounding) == fails


def test_the_maps_of_a_request_are_asked_for_together() -> None:
    together: list[list[str]] = []

    class Together(FakeEngine):
        def heatmaps(self, answer, wanted, *, cancelled=None):
            together.append([one.word.text for one in wanted])
            return [self.heatmap(answer, one, cancelled=cancelled) for one in wanted[:-1]] + [VlmDemoError("No.")]

    request = Request((Image.new("RGB", (9, 9)),), "What is it?")
    extras, found = RequestedExtras(all_words=True), []
    for engine in (Together(), FakeEngine()):
        service = ModelRegistry(engine, lambda *_: FakeEngine(), "llava")
        *_, outcome = model_requests.ask(service, request, extras)
        assert isinstance(outcome, RequestOutcome)
        found.append([(one.word, one.heat is None, one.problem) for one in outcome.maps])
    assert together == [[word for word, *_ in found[1]]] and len(found[1]) > 2
    assert found[0] == [*found[1][:-1], (found[1][-1][0], True, "No.")]


def test_maps_of_a_large_picture_do_not_fill_the_memory() -> None:
    class Plain(FakeEngine):
        def heatmap(self, answer, wanted, *, cancelled=None):
            width, height = answer.views[wanted.image].size
            return np.full((height, width), 0.5, np.float32)  # 25 MB

    picture = Image.new("RGB", (2500, 2500))
    service = ModelRegistry(Plain(), lambda *_: Plain(), "llava")
    answer = "a large purple star and a small red square with eight other words behind"
    extras = RequestedExtras(tuple(answer.split()))
    tracemalloc.start()
    outcome = model_requests.explain(service, Request((picture,), "What is it?"), answer, extras)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(outcome.maps) == 14 and not any(drawn.problem for drawn in outcome.maps) and most < 250_000_000
    heat = outcome.maps[-1].heat
    assert heat is not None and heat.shape == (2500, 2500) and abs(heat[0, 0] - 0.5) < 0.003
