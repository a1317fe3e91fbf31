"""The service: switches wait for answers and lose nothing, and only the operator may make them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from tests.kit.tiny import tiny_llava, without
from vlm_demo.contracts import Timings
from vlm_demo.contracts.engine import Request
from vlm_demo.engines import local
from vlm_demo.engines.local import LocalEngine
from vlm_demo.engines.registry import Measured, ModelRegistry, is_operator
from vlm_demo.engines.scheduler import ModelUse
from vlm_demo.errors import QuantizationUnavailable, Stopped, VlmDemoError

pytestmark = pytest.mark.usefixtures("bf16_as_stored")


def service(load=lambda name, quantize, progress: FakeEngine(name, quantize)) -> ModelRegistry:
    return ModelRegistry(FakeEngine(), load, "llava")


def waiting_switch(held: ModelRegistry, monkeypatch: pytest.MonkeyPatch, quantize: str) -> threading.Thread:
    """A switch in a thread, which has got so far that it waits for those who use the model."""
    began, exchange = threading.Event(), ModelUse.reserve

    def reserve(use: ModelUse) -> Callable[[], None]:
        release = exchange(use)
        began.set()
        return release

    monkeypatch.setattr(ModelUse, "reserve", reserve)
    worker = threading.Thread(target=held.switch, args=("llava", quantize))
    worker.start()
    assert began.wait(30)
    return worker


def test_a_switch_waits_for_the_running_answer(monkeypatch: pytest.MonkeyPatch):
    held = service()
    with held.engine() as pipe:
        worker = waiting_switch(held, monkeypatch, "4bit")
        assert held.status.precision == pipe.precision == "bf16" and "Waiting" in held.status.busy
    worker.join(30)
    assert held.status.precision == "4bit" and held.quantize == "4bit" and not held.status.busy


def test_an_answer_waits_for_a_switch_and_can_be_stopped_meanwhile():
    held = service()
    with held._use.exchange(), pytest.raises(Stopped), held.engine(cancelled=lambda: True):
        pass
    with held.engine(cancelled=lambda: True) as pipe:  # nothing to wait for
        assert pipe.name == "llava"


def test_a_failed_switch_leaves_the_loaded_model_in_service():
    def refuse(*_):
        raise QuantizationUnavailable("8bit needs the package bitsandbytes.")

    held = service(refuse)
    with held.engine() as before:
        pass
    with pytest.raises(VlmDemoError, match="bitsandbytes"):
        held.switch("llava", "8bit")
    with held.engine() as after:
        assert after is before
    assert held.quantize == "none" and not held.status.busy


def test_a_second_switch_is_refused_while_one_goes_on(monkeypatch: pytest.MonkeyPatch):
    held = service()
    with held.engine():
        worker = waiting_switch(held, monkeypatch, "4bit")
        with pytest.raises(VlmDemoError, match="Another switch"):
            held.switch("llava", "8bit")
    worker.join(30)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough for a copy of it to be seen in the memory of the process, and small enough to be loaded often."""
    return tiny_llava(tmp_path_factory.mktemp("wide"), dtype=torch.bfloat16, width=384)


def real(folder: Path) -> ModelRegistry:
    def load(name: str, quantize: str, progress=None) -> LocalEngine:
        return local.load(name, quantize, None, progress)

    return ModelRegistry(load(str(folder), "none"), load, str(folder))


def test_ten_switches_leave_nothing_of_the_old_models(checkpoint: Path):
    """Measured: the process does not grow by as much as one copy of the weights, where ten would have been kept."""
    held = real(checkpoint)
    with held.engine() as pipe:
        model_bytes = pipe.memory().parameter_bytes
    del pipe
    for quantize in ("8bit", "4bit", "none"):  # what the first use of each of them takes for good
        held.switch(str(checkpoint), quantize)
    before = psutil.Process().memory_info().rss
    for quantize in ["4bit", "none", "8bit", "4bit", "8bit", "none", "4bit", "none", "8bit", "none"]:
        with held.engine() as pipe:
            old = weakref.ref(pipe.pipeline.model)
        del pipe
        held.switch(str(checkpoint), quantize)
        assert old() is None and held.quantize == quantize
    grown = psutil.Process().memory_info().rss - before
    assert model_bytes > 15_000_000 and grown < model_bytes


def test_a_failed_switch_leaves_a_model_that_answers(checkpoint: Path, tmp_path: Path):
    held = real(checkpoint)
    broken = without(checkpoint, tmp_path / "x", "*.safetensors")
    with pytest.raises(VlmDemoError, match="no weights"):
        held.switch(str(broken), "none")
    with held.engine() as pipe:
        *_, answer = pipe.stream(Request((Image.new("RGB", (50, 50)),), "What is it?", max_new_tokens=1))
        assert answer.tokens
    assert held.model == str(checkpoint) and held.status.precision == "bf16" and not held.status.busy


def test_a_switch_of_a_small_model_is_measured_on_both_sides(checkpoint: Path):
    held = real(checkpoint)
    assert held.measured["none"].seconds is None
    held.switch(str(checkpoint), "4bit")
    plain, packed = held.measured["none"], held.measured["4bit"]
    assert 0 < packed.parameter_bytes < plain.parameter_bytes
    for found in (plain, packed):
        assert 0 < found.fastest <= found.seconds <= found.slowest
    with held.engine() as pipe:
        assert pipe.memory().parameter_bytes == pytest.approx(packed.parameter_bytes, rel=0.1)


def test_a_large_model_is_measured_by_its_answers_alone():
    held = service()

    def answer(tokens: int, decode: float) -> SimpleNamespace:
        return SimpleNamespace(tokens=[None] * tokens, cut=0, timings=Timings(decode=decode))

    held.record_pace(answer(2, 9.0))
    assert held.measured["none"].seconds is None
    for decode in (1.0, 2.0):
        held.record_pace(answer(11, decode))
    assert held.measured["none"].fastest is None  # too few to be compared with others
    held.record_pace(answer(11, 30.0))
    found = held.measured["none"]
    assert (found.fastest, found.seconds, found.slowest) == pytest.approx((0.1, 0.2, 3.0))
    held.switch("llava", "4bit")
    held.record_pace(answer(11, 4.0))
    assert held.measured["4bit"].seconds == pytest.approx(0.4)
    held.switch("another", "none")
    assert held.measured == {"none": Measured(18_900_000, None)}


@pytest.mark.parametrize(
    ("client", "headers", "allowed"),
    [
        ("127.0.0.1", {"host": "127.0.0.1:7860"}, True),
        ("::1", {"host": "[::1]:7860"}, True),
        ("127.0.0.1", {"host": "localhost"}, True),
        ("192.168.1.7", {"host": "192.168.1.2:7860"}, False),
        ("127.0.0.1", {"host": "abc.example.org"}, False),
        ("127.0.0.1", {"host": "127.0.0.1:7860", "x-forwarded-for": "8.8.8.8"}, False),
        (None, {"host": "127.0.0.1"}, False),
        ("127.0.0.1", {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:7860"}, True),
        ("::1", {"host": "[::1]:7860", "origin": "http://[::1]:7860"}, True),
        # nginx as it comes passes a request on under the name of what it passes it to
        ("127.0.0.1", {"host": "127.0.0.1:7860", "origin": "https://demo.example.org"}, False),
        ("127.0.0.1", {"host": "127.0.0.1:7860", "connection": "close"}, False),
        ("127.0.0.1", {"host": "127.0.0.1:7860", "origin": "null"}, False),
        ("127.0.0.1", {"host": "127.0.0.1:7860", "origin": "http://[bad"}, False),
    ],
)
def test_only_direct_requests_from_this_machine_are_the_operators(client, headers, allowed):
    assert is_operator(client, headers) is allowed
    assert not is_operator(client, headers, token="issued")  # with a key it counts alone


class TestBeginning:
    """A service without a model loads it while the page is up."""

    def begun(self, load, reports: list | None = None) -> tuple[ModelRegistry, threading.Thread]:
        held = ModelRegistry(None, load, "llava", device="cpu")
        return held, held.begin(None if reports is None else lambda *step: reports.append(step))

    def test_questions_wait_and_pages_see_how_it_goes(self):
        go, loading, reports, answered = threading.Event(), threading.Event(), [], []

        def load(name: str, quantize: str, progress) -> FakeEngine:
            progress(0.5, f"Putting {name} together")
            loading.set()
            assert go.wait(30)
            return FakeEngine(name, quantize)

        held, thread = self.begun(load, reports)

        def ask() -> None:
            with held.engine() as pipe:
                answered.append(pipe)

        asking = threading.Thread(target=ask)
        asking.start()
        assert loading.wait(30)
        assert not held.ready and not answered and reports == [(0.5, "Putting llava together")]
        assert (held.status.busy, held.status.fraction) == ("Putting llava together", 0.5)
        assert held.status.name == "llava" and held.status.parameter_bytes == 0
        with pytest.raises(VlmDemoError, match="Another switch"):
            held.switch("llava", "8bit")
        with pytest.raises(Stopped), held.engine(cancelled=lambda: True):
            pass
        held.forget("somebody")
        go.set()
        thread.join(30)
        asking.join(30)
        assert held.ready and len(answered) == 1 and not held.status.busy
        assert held.measured["none"].parameter_bytes == held.status.parameter_bytes > 0

    def test_a_failure_is_shown_to_pages_questions_and_the_terminal_and_a_switch_helps(self, caplog):
        def load(name: str, quantize: str, progress) -> FakeEngine:
            if name == "llava":
                raise VlmDemoError("The disk is too full for llava.")
            return FakeEngine(name, quantize)

        held, thread = self.begun(load)
        thread.join(30)
        assert not held.ready and held.status.problem == "The disk is too full for llava." and not held.status.busy
        assert [record.getMessage() for record in caplog.records] == ["The disk is too full for llava."]
        with pytest.raises(VlmDemoError, match="too full"), held.engine():
            pass
        held.switch("other", "none")
        with held.engine() as pipe:
            assert pipe.name == "other"
        assert held.ready and not held.status.problem

    def test_an_unexpected_failure_shows_nothing_of_its_insides(self, caplog):
        secret = "/".join(("quoted", "upload"))

        def load(*_: object) -> FakeEngine:
            raise KeyError(secret)

        held, thread = self.begun(load)
        thread.join(30)
        assert held.status.problem == "llava could not be loaded." and secret not in caplog.text
