"""The service: switches wait for answers and lose nothing, and only the operator may make them."""

from __future__ import annotations

import threading
import time

import pytest

from tests.ui.fake_pipeline import FakePipeline
from vlm_demo.errors import QuantizationUnavailable, Stopped, VlmDemoError
from vlm_demo.ui.service import Service, is_operator


def service(load=lambda name, quantize, progress: FakePipeline(name, quantize)) -> Service:
    return Service(FakePipeline(), load, "llava")


def test_a_switch_waits_for_the_running_answer():
    held = service()
    with held.pipeline() as pipe:
        worker = threading.Thread(target=held.switch, args=("llava", "4bit"))
        worker.start()
        time.sleep(0.2)
        assert held.status.precision == pipe.precision == "bf16" and "Waiting" in held.status.busy
    worker.join(5)
    assert held.status.precision == "4bit" and held.quantize == "4bit" and not held.status.busy


def test_a_failed_switch_leaves_the_loaded_model_in_service():
    def refuse(*_):
        raise QuantizationUnavailable("8bit needs the package bitsandbytes.")

    held = service(refuse)
    with held.pipeline() as before:
        pass
    with pytest.raises(VlmDemoError, match="bitsandbytes"):
        held.switch("llava", "8bit")
    with held.pipeline() as after:
        assert after is before
    assert held.quantize == "none" and not held.status.busy


def test_waiting_for_the_model_can_be_stopped():
    held = service()
    with held.pipeline(), pytest.raises(Stopped), held.pipeline(cancelled=lambda: True):
        pass


def test_a_second_switch_is_refused_while_one_goes_on():
    held = service()
    with held.pipeline():
        worker = threading.Thread(target=held.switch, args=("llava", "4bit"))
        worker.start()
        time.sleep(0.1)
        with pytest.raises(VlmDemoError, match="Another switch"):
            held.switch("llava", "8bit")
    worker.join(5)


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
    ],
)
def test_only_direct_requests_from_this_machine_are_the_operators(client, headers, allowed):
    assert is_operator(client, headers) is allowed
