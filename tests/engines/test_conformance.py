"""All engines pass the conformance suite of the Engine interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.kit.chat_server import chat_server
from tests.kit.engine_conformance import EngineConformance, answered, make_request
from tests.kit.fake_engine import FakeEngine
from tests.kit.tiny import tiny_clip
from vlm_demo import Pipeline
from vlm_demo.contracts import MapRequest
from vlm_demo.contracts.engine import Engine, Request
from vlm_demo.contracts.sampling import Sampling
from vlm_demo.engines.local import LocalEngine
from vlm_demo.engines.remote import RemoteEngine
from vlm_demo.engines.remote_server import server_at
from vlm_demo.errors import BadQuestion, Stopped, UnsupportedModel


class TestLocal(EngineConformance):
    @pytest.fixture(scope="class")
    def engine(self, pipe: Pipeline) -> Engine:
        return LocalEngine(pipe)

    def test_the_system_message_and_the_stop_texts_of_a_request_count(self, engine: Engine) -> None:
        _, plain = answered(engine, make_request())
        stop = plain.text[1:2]
        _, ended = answered(engine, make_request(system="Be brief.", sampling=Sampling(stop=(stop,))))
        assert any(segment.kind == "system" for segment in ended.prompt.segments)
        assert stop and stop not in ended.text

    def test_what_one_visitor_asked_no_other_one_finds(self, engine: Engine) -> None:
        """Both get the same answer; the encoder ran for each, and forgetting removes only that visitor's values."""
        assert isinstance(engine, LocalEngine)
        engine.forget()
        ones, others = make_request(visitor="one"), make_request(visitor="other")

        def encoded_before(request: Request) -> int:
            events, _ = answered(engine, request)
            return next(event.facts.cached for event in events if getattr(event, "name", "") == "encoder")

        assert [encoded_before(ones), encoded_before(others), encoded_before(ones)] == [0, 0, 1]
        assert answered(engine, ones)[1].text == answered(engine, others)[1].text
        kept = engine.pipeline.remembered.bytes
        engine.forget("one")
        assert engine.pipeline.remembered.bytes == kept / 2
        assert [encoded_before(others), encoded_before(ones)] == [1, 0]
        engine.heatmap(answered(engine, ones)[1], MapRequest(0, method="occlusion"))
        engine.forget("one")
        engine.forget("other")
        assert engine.pipeline.remembered.bytes == 0


class TestRemote(EngineConformance):
    """A server writes, and the tiny checkpoint reads what it wrote."""

    before = ("view", "prompt", "prefill")
    counts = False

    @pytest.fixture(scope="class")
    def engine(self, pipe: Pipeline) -> Iterator[Engine]:
        with chat_server() as server:
            yield RemoteEngine(server_at(server.address), "first", LocalEngine(pipe))


class TestRemoteAlone(EngineConformance):
    """A server writes, and nothing explains it."""

    before = ("view", "prompt", "prefill")
    counts = False

    @pytest.fixture(scope="class")
    def engine(self) -> Iterator[Engine]:
        with chat_server() as server:
            yield RemoteEngine(server_at(server.address), "first")


class TestFake(EngineConformance):
    @pytest.fixture(scope="class")
    def engine(self) -> Engine:
        return FakeEngine()


def test_a_texts_relevancy_is_that_of_the_pipeline_and_can_be_stopped(tmp_path: Path, noise) -> None:
    pipe = Pipeline.from_pretrained(tiny_clip(tmp_path))
    engine: Engine = LocalEngine(pipe)
    heat = engine.relevancy(noise(48, 40), "a red star", visitor="one")
    assert heat.shape == (40, 48) and heat.dtype == np.float32 and heat.max() == 1
    assert np.array_equal(heat, pipe.relevancy(noise(48, 40), "a red star"))
    with pytest.raises(Stopped):
        engine.relevancy(noise(48, 40), "a red star", cancelled=lambda: True)
    with pytest.raises(BadQuestion):
        engine.relevancy(noise(48, 40), " ")


def test_an_engine_that_only_writes_has_no_relevancy(pipe: Pipeline, noise) -> None:
    with pytest.raises(UnsupportedModel, match="no part that compares"):
        LocalEngine(pipe).relevancy(noise(48, 48), "star")
