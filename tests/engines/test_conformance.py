"""The engines that there are keep the promises of the seam."""

from __future__ import annotations

import pytest

from tests.kit.engine_conformance import EngineConformance, answered, asked
from tests.kit.fake_engine import FakeEngine
from vlm_demo import Pipeline
from vlm_demo.contracts.engine import Engine
from vlm_demo.contracts.sampling import Sampling
from vlm_demo.engines.local import LocalEngine


class TestLocal(EngineConformance):
    @pytest.fixture(scope="class")
    def engine(self, pipe: Pipeline) -> Engine:
        return LocalEngine(pipe)

    def test_the_system_message_and_the_stop_texts_of_a_request_count(self, engine: Engine) -> None:
        _, plain = answered(engine, asked())
        stop = plain.text[1:2]
        _, ended = answered(engine, asked(system="Be brief.", sampling=Sampling(stop=(stop,))))
        assert any(segment.kind == "system" for segment in ended.prompt.segments)
        assert stop and stop not in ended.text


class TestFake(EngineConformance):
    @pytest.fixture(scope="class")
    def engine(self) -> Engine:
        return FakeEngine()
