"""Which embedded models compare pictures with texts, listed without loading them, is what they can do once loaded."""

from __future__ import annotations

import pytest

from tests.kit.fake_engine import FakeEngine
from vlm_demo.contracts.engine import Capabilities
from vlm_demo.engines import local, offers
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.models.loading import embedded_names

EMBEDDED = [name for name in ("blip2", "idefics") if name in embedded_names()]


@pytest.mark.parametrize("name", EMBEDDED)
def test_what_is_offered_is_what_a_loaded_model_can_do(name: str, noise) -> None:
    listed = {comparer.name: comparer for comparer in offers.comparers()}
    engine = local.load(name, "none", "cpu")
    assert engine.capabilities.scores is (name in listed)
    if name in listed:
        assert (engine.score(noise(48, 48), ["a star"]).matches is not None) is listed[name].matches


@pytest.mark.skipif("clip" not in embedded_names(), reason="clip is not embedded")
def test_what_only_compares_comes_first_and_has_no_itm() -> None:
    first = offers.comparers()[0]
    assert first.name == "clip" and not first.matches and first.good_at


def test_a_registry_knows_whether_its_model_compares() -> None:
    engine = FakeEngine()
    registry = ModelRegistry(engine, lambda *_: engine, "llava")
    assert registry.scores
    engine.capabilities = Capabilities(True, True, False, True, True)
    assert not registry.scores
    assert not ModelRegistry(None, lambda *_: engine, "llava").scores
