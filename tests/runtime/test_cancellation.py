"""The guard: one at a time, stoppable, and nothing left behind."""

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest
import torch

from tests.kit.waiting import LONG, wait_until
from vlm_demo.errors import Stopped
from vlm_demo.runtime import compute_thread
from vlm_demo.runtime.cancellation import MOST_SHARES, SHARE, CancellationHooks, _Urgent


@pytest.fixture
def guard() -> CancellationHooks:
    return CancellationHooks(torch.device("cpu"))


def test_stopping_releases_the_model_and_the_layers(guard: CancellationHooks) -> None:
    layer = torch.nn.Identity()
    guard.watch([layer])
    stop = threading.Event()

    def stopped_between_layers() -> None:
        layer(torch.zeros(1))
        stop.set()
        layer(torch.zeros(1))

    with pytest.raises(Stopped):
        guard.run(stopped_between_layers, stop.is_set)
    layer(torch.zeros(1))  # outside, nobody asks
    guard.run(lambda: layer(torch.zeros(1)))
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

    def meanwhile() -> None:
        thread = threading.Thread(target=alone)
        thread.start()
        thread.join()

    pressed = iter([False])  # not yet when it begins, then always
    guard.run(meanwhile, lambda: next(pressed, True))
    assert not failed


def test_an_error_inside_releases_the_model(guard: CancellationHooks) -> None:
    with pytest.raises(ZeroDivisionError):
        guard.run(lambda: 1 / 0)
    assert guard.run(lambda: 1) == 1


def test_computing_has_no_gradients(guard: CancellationHooks) -> None:
    weight = torch.ones(1, requires_grad=True)
    assert not guard.run(lambda: weight * 2).requires_grad


def test_a_question_around_several_computations_stops_each_and_goes_with_its_end(guard: CancellationHooks) -> None:
    layer = torch.nn.Identity()
    guard.watch([layer])
    stop = threading.Event()
    with guard.stoppable(stop.is_set):
        guard.run(lambda: layer(torch.zeros(1)))
        stop.set()
        with pytest.raises(Stopped):
            guard.run(lambda: layer(torch.zeros(1)))
    guard.run(lambda: layer(torch.zeros(1)))


def test_urgent_ones_go_between_two_layers_of_one_that_gives_way(guard: CancellationHooks) -> None:
    """Not of one that does not, and not those that are not urgent."""
    layer, order = torch.nn.Identity(), list[str]()
    guard.watch([layer])

    def work(name: str, urgent: bool) -> threading.Thread:
        def step() -> None:
            order.append(name)
            layer(torch.zeros(1))

        def compute() -> None:
            (guard.urgently if urgent else guard.run)(step)

        before = len(guard._queue)
        thread = threading.Thread(target=compute)
        thread.start()
        assert wait_until(lambda: len(guard._queue) == before + 1)
        return thread

    threads = list[threading.Thread]()

    def keeps_on() -> None:
        threads.append(work("urgent, after one that keeps on", urgent=True))
        layer(torch.zeros(1))
        order.append("kept on")

    def gives_way() -> None:
        threads.extend([work("patient", urgent=False), work("urgent", urgent=True)])
        guard._urgent_took = 0.0
        for _ in range(4):
            order.append("layer")
            layer(torch.zeros(1))
            guard._urgent_took = 0.0
        assert not torch.is_grad_enabled()

    guard.run(keeps_on)
    threads[0].join(LONG)
    guard.run(gives_way, gives_way=True)
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

    def compute() -> None:
        guard._urgent.append(_Urgent(print, None))
        guard._urgent_took = 3.0 / SHARE
        assert [gives_way_at(seconds) for seconds in (1.0, 2.0, 2.9, 3.0)] == [False] * 3 + [True]
        guard._queue.extend([object(), object()])  # an urgent one, and a long one, which adds a share
        assert [gives_way_at(seconds) for seconds in (5.9, 6.0)] == [False, True]
        guard._queue.extend([object()] * MOST_SHARES)  # up to a limit
        assert [gives_way_at(seconds) for seconds in (3.0 * MOST_SHARES - 0.1, 3.0 * MOST_SHARES)] == [False, True]
        guard._urgent.clear()

    guard.run(compute, gives_way=True)


def test_who_gave_way_goes_on_though_nobody_takes_it(guard: CancellationHooks) -> None:
    """Who was let go first has been stopped meanwhile."""
    layer, stop = torch.nn.Identity(), threading.Event()
    guard.watch([layer])
    stopped = list[bool]()

    def wait() -> None:
        try:
            guard.urgently(lambda: None, stop.is_set)
        except Stopped:
            stopped.append(True)

    def compute() -> None:
        thread = threading.Thread(target=wait)
        thread.start()
        assert wait_until(lambda: len(guard._urgent) == 1)
        stop.set()
        thread.join(LONG)
        layer(torch.zeros(1))

    guard.run(compute, gives_way=True)
    guard.run(lambda: None)
    assert stopped
    assert not guard._queue and not guard._urgent


def test_one_that_gives_way_computes_the_urgent_one_in_its_own_thread(guard: CancellationHooks) -> None:
    """In the context of who wants it, without gradients; an error and a stop go to that one alone."""
    layer, wanted, outcomes = torch.nn.Identity(), ContextVar[str]("wanted", default=""), list[object]()
    guard.watch([layer])
    stop = threading.Event()

    def ask(compute: Callable[[], object]) -> None:
        wanted.set("asked")
        try:
            outcomes.append(guard.urgently(compute, stop.is_set))
        except (ZeroDivisionError, Stopped) as error:
            outcomes.append(type(error))

    def stopped_in_its_layers() -> None:
        stop.set()
        layer(torch.zeros(1))

    def between_layers(compute: Callable[[], object]) -> None:
        thread = threading.Thread(target=ask, args=(compute,))
        thread.start()
        assert wait_until(lambda: len(guard._urgent) == 1)
        guard._urgent_took = 0.0
        layer(torch.zeros(1))
        thread.join(LONG)

    def compute() -> None:
        between_layers(lambda: (threading.get_ident(), wanted.get(), torch.is_grad_enabled()))
        between_layers(lambda: 1 / 0)
        between_layers(stopped_in_its_layers)
        assert wanted.get() == ""
        layer(torch.zeros(1))

    guard.run(compute, gives_way=True)
    assert outcomes == [(threading.get_ident(), "asked", False), ZeroDivisionError, Stopped]
    assert not guard._queue and not guard._urgent


def test_in_a_thread_of_its_own_it_computes_all_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the caller's context, on all of torch's cores; other threads' work keeps to one from then on."""
    monkeypatch.setattr(compute_thread, "CORES", 3)
    guard, wanted = CancellationHooks(torch.device("cpu"), own_thread=True), ContextVar[str]("wanted", default="")
    wanted.set("asked")

    def seen() -> tuple[int, str, int]:
        return threading.get_ident(), wanted.get(), torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        found = {guard.run(seen), guard.urgently(seen)}
        assert pool.submit(lambda: guard.run(threading.get_ident)).result() == next(iter(found))[0]
        assert pool.submit(torch.get_num_threads).result() == 1
    assert len(found) == 1 and threading.get_ident() not in next(iter(found))
    assert next(iter(found))[1:] == ("asked", 3)
    with pytest.raises(ZeroDivisionError):
        guard.run(lambda: 1 / 0)


def test_the_thread_ends_with_its_guard() -> None:
    guard = CancellationHooks(torch.device("cpu"), own_thread=True)
    thread = guard.run(threading.current_thread)
    assert thread.daemon and thread.is_alive()
    del guard
    gc.collect()
    thread.join(LONG)
    assert not thread.is_alive()
