"""The Contrast tab among several visitors: what each is told of the model in service, and that it is waited for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.kit.contrast import Comparing, contrast_tab, file, similarities
from tests.kit.ui import event, request
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.contrast.contrast_events import ContrastEvents
from vlm_demo.ui.tabs.contrast.contrast_work import TABLE


@pytest.fixture
def tab(page: Callable[..., Events], monkeypatch: pytest.MonkeyPatch) -> Callable[..., ContrastEvents]:
    return contrast_tab(page, monkeypatch)


def test_a_visitor_is_not_told_where_the_model_in_service_lies(tab, tmp_path) -> None:
    made = tab(Comparing(), shared=Comparing("own"))
    made.work.service.model = "/srv/secret/own"
    states = [made.upload([file(tmp_path, "red")], request()), *made.compute(request())]
    states.append(made.choose(event(judge="/srv/secret/own"), request()))
    html = "".join(str(part) for state in states for part in state.values())
    assert "Where own finds" in html and "secret" not in html
    assert similarities(str(states[-1][TABLE]))
    made.work.service.model = "/srv/another/own"  # has scored nothing yet
    assert not similarities(str(made.shown(request())[TABLE]))
