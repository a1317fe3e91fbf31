"""The guard: one at a time, stoppable, and nothing left behind."""

import threading

import pytest
import torch

from tests.kit.waiting import LONG, wait_until
from vlm_demo.errors import Stopped
from vlm_demo.runtime.cancellation import MOST_SHARES, SHARE, CancellationHooks


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


def test_urgent_ones_go_between_two_layers_of_one_that_gives_way(guard: CancellationHooks) -> None:
    """Not of one that does not, and not those that are not urgent."""
    layer, order = torch.nn.Identity(), list[str]()
    guard.watch([layer])

    def work(name: str, urgent: bool) -> threading.Thread:
        def compute() -> None:
            with guard.computing(urgent=urgent):
                order.append(name)
                layer(torch.zeros(1))

        before = len(guard._queue)
        thread = threading.Thread(target=compute)
        thread.start()
        assert wait_until(lambda: len(guard._queue) == before + 1)
        return thread

    with guard.computing():
        threads = [work("urgent, after one that keeps on", urgent=True)]
        layer(torch.zeros(1))
        order.append("kept on")
    threads[0].join(LONG)
    with guard.computing(gives_way=True):
        threads += [work("patient", urgent=False), work("urgent", urgent=True)]
        guard._urgent_took = 0.0
        for _ in range(4):
            order.append("layer")
            layer(torch.zeros(1))
            guard._urgent_took = 0.0
        assert not torch.is_grad_enabled()
    for thread in threads:
        thread.join(LONG)
    assert order[:2] == ["kept on", "urgent, after one that keeps on"]
    assert order[2:] == ["layer", "urgent", "layer", "layer", "layer", "patient"]


def test_it_works_on_for_a_share_of_what_the_urgent_one_took(
    guard: CancellationHooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, now, ran = torch.nn.Identity(), 0.0, list[int]()
    guard.watch([layer])
    monkeypatch.setattr("vlm_demo.runtime.cancellation.time.perf_counter", lambda: now)
    monkeypatch.setattr(guard, "_give_way", lambda: ran.append(1))

    def gives_way_at(seconds: float) -> bool:
        nonlocal now
        ran.clear()
        now = seconds
        layer(torch.zeros(1))
        return bool(ran)

    with guard.computing(gives_way=True):
        guard._urgent, guard._urgent_took = 1, 3.0 / SHARE
        assert [gives_way_at(seconds) for seconds in (1.0, 2.0, 2.9, 3.0)] == [False] * 3 + [True]
        guard._queue.extend([object(), object()])  # an urgent one, and a long one, which adds a share
        assert [gives_way_at(seconds) for seconds in (5.9, 6.0)] == [False, True]
        guard._queue.extend([object()] * MOST_SHARES)  # up to a limit
        assert [gives_way_at(seconds) for seconds in (3.0 * MOST_SHARES - 0.1, 3.0 * MOST_SHARES)] == [False, True]
        guard._urgent = 0


def test_who_gave_way_goes_on_though_nobody_takes_it(guard: CancellationHooks) -> None:
    """Who was let go first has been stopped meanwhile."""
    layer, stop = torch.nn.Identity(), threading.Event()
    guard.watch([layer])
    stopped = list[bool]()

    def wait() -> None:
        try:
            with guard.computing(stop.is_set, urgent=True):
                pass
        except Stopped:
            stopped.append(True)

    with guard.computing(gives_way=True):
        thread = threading.Thread(target=wait)
        thread.start()
        assert wait_until(lambda: guard._urgent == 1)
        stop.set()
        layer(torch.zeros(1))
    thread.join(LONG)
    with guard.computing():
        pass
    assert not guard._queue and not guard._urgent
