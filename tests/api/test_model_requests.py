"""What an engine is asked to compute for one question."""

from __future__ import annotations

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
