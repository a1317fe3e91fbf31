"""The engines that there are keep the promises of the seam."""

from __future__ import annotations

import pytest

from tests.kit.engine_conformance import EngineConformance
from tests.kit.fake_pipeline import FakePipeline
from vlm_demo import Pipeline
from vlm_demo.contracts.engine import Engine
from vlm_demo.engines.local import LocalEngine


class TestLocal(EngineConformance):
    @pytest.fixture(scope="class")
    def engine(self, pipe: Pipeline) -> Engine:
        return LocalEngine(pipe)


class TestFake(EngineConformance):
    @pytest.fixture(scope="class")
    def engine(self) -> Engine:
        return FakePipeline()
