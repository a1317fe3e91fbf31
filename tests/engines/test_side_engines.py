"""Models loaded next to the shared one."""

from __future__ import annotations

import threading

import pytest

from tests.kit.fake_engine import FakeEngine
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.engines.side_engines import SideEngines
from vlm_demo.errors import Stopped, UnsupportedModel


class Loader:
    """Loads stand-ins and counts."""

    def __init__(self):
        self.loaded = []

    def __call__(self, model, quantize, progress):
        if model == "none-such":
            raise UnsupportedModel("There is no such model.")
        self.loaded.append((model, quantize))
        return FakeEngine(model)


def test_a_model_is_loaded_once_and_the_one_used_longest_ago_goes():
    load = Loader()
    side = SideEngines(load, kept=2)
    for model in ("a", "b", "a", "c", "a", "b"):
        with side.engine(model) as engine:
            assert engine.name == model
    assert [model for model, _ in load.loaded] == ["a", "b", "c", "b"]


def test_a_model_that_fails_to_load_leaves_the_others():
    load = Loader()
    side = SideEngines(load)
    with side.engine("a"):
        pass
    with pytest.raises(UnsupportedModel, match="no such"), side.engine("none-such"):
        pass
    with side.engine("a", "none"):
        pass
    assert load.loaded == [("a", "none")]


def test_who_waits_can_be_stopped():
    side, inside, leave = SideEngines(Loader()), threading.Event(), threading.Event()

    def hold():
        with side.engine("a"):
            inside.set()
            leave.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(20)
    try:
        with pytest.raises(Stopped), side.engine("a", cancelled=lambda: True):
            pass
    finally:
        leave.set()
        thread.join()


def test_what_a_visitor_showed_is_forgotten_by_all():
    registry = ModelRegistry(FakeEngine(), Loader(), "llava")
    forgotten = []
    with registry.side_engines.engine("a") as engine:
        engine.forget = forgotten.append
    registry.forget("visitor")
    assert forgotten == ["visitor"]
