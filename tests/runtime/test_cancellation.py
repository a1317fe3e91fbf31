"""The guard: one at a time, stoppable, and nothing left behind."""

import threading

import pytest
import torch

from vlm_demo.errors import Stopped
from vlm_demo.runtime.cancellation import CancellationHooks


@pytest.fixture
def guard() -> CancellationHooks:
    return CancellationHooks(torch.device("cpu"))


def test_stopping_releases_the_model_and_the_layers(guard: CancellationHooks) -> None:
    layer = torch.nn.Identity()
    guard.watch([layer])
    stop = threading.Event()
    with pytest.raises(Stopped), guard.computing(stop.is_set):
        layer(torch.zeros(1))
        stop.set()
        layer(torch.zeros(1))
    layer(torch.zeros(1))  # outside, nobody asks
    with guard.computing():
        layer(torch.zeros(1))
    assert torch.is_grad_enabled()


def test_anothers_stop_button_is_not_ours(guard: CancellationHooks) -> None:
    layer = torch.nn.Identity()
    guard.watch([layer])
    failed = []

    def alone() -> None:
        try:
            layer(torch.zeros(1))
        except Stopped:
            failed.append(True)

    pressed = iter([False])  # not yet when it begins, then always
    with guard.computing(lambda: next(pressed, True)):
        thread = threading.Thread(target=alone)
        thread.start()
        thread.join()
    assert not failed


def test_an_error_inside_releases_the_model(guard: CancellationHooks) -> None:
    with pytest.raises(ZeroDivisionError), guard.computing():
        1 / 0  # noqa: B018
    with guard.computing():
        pass


def test_computing_has_no_gradients(guard: CancellationHooks) -> None:
    weight = torch.ones(1, requires_grad=True)
    with guard.computing():
        assert not (weight * 2).requires_grad


def test_a_question_around_several_computations_stops_each_and_goes_with_its_end(guard: CancellationHooks) -> None:
    layer = torch.nn.Identity()
    guard.watch([layer])
    stop = threading.Event()
    with guard.stoppable(stop.is_set):
        with guard.computing():
            layer(torch.zeros(1))
        stop.set()
        with pytest.raises(Stopped), guard.computing():
            layer(torch.zeros(1))
    with guard.computing():
        layer(torch.zeros(1))
