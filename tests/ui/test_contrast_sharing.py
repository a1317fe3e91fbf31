"""The Contrast tab among several visitors: what each is told of the model in service, and that it is waited for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.kit.contrast import Comparing, contrast_tab, file, similarities
from tests.kit.ui import event, request
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.contrast.contrast_events import ContrastEvents
from vlm_demo.ui.tabs.contrast.contrast_work import TABLE, WAITING


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


def test_before_its_turn_comes_the_page_says_that_the_models_are_waited_for(tab, tmp_path) -> None:
    made = tab(Comparing())
    assert WAITING in str(made.upload([file(tmp_path, "red")], request())[TABLE])
    during, *_, done = (str(state[TABLE]) for state in made.compute(request()))
    assert "Loading clip." in during and 'role="status"></div>' in done
    assert WAITING not in str(made.shown(request())[TABLE])  # nothing is missing
    assert WAITING in str(made.reword(event(words="a boat"), request())[TABLE])


def test_a_press_during_the_work_leaves_what_is_being_done(tab, tmp_path) -> None:
    made = tab(Comparing())
    made.upload([file(tmp_path, "red")], request())
    working = made.compute(request())
    next(working)
    assert "Loading clip." in str(made.reword(event(words="a boat"), request())[TABLE])
    list(working)
