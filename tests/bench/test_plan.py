"""The plan's formulas against a simulation of the queues that they describe."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from vlm_demo.bench import plan
from vlm_demo.bench.plan import ServiceFigures
from vlm_demo.errors import VlmDemoError

MEASURED = ServiceFigures(1.0, 2.0, 0.7, 0.01, 2e5, 4e6, 4e8, 30.0, 1.5, 0.5, 0.25, 3)
Choose = Callable[[int, list[float], float], int]


def simulated(rate: float, seconds: float, variation: float, servers: int, choose: Choose, count: int) -> np.ndarray:
    """Each arrival's wait. ``choose`` picks the n-th one's server, given when each server becomes idle."""
    rng = np.random.default_rng(0)
    shape = 1 / variation**2  # of a gamma distribution
    arrivals = np.cumsum(rng.exponential(1 / rate, count))
    services = rng.gamma(shape, seconds / shape, count)
    free, waits = [0.0] * servers, np.empty(count)
    for number, (now, service) in enumerate(zip(arrivals, services, strict=True)):
        server = choose(number, free, now)
        begins = max(now, free[server])
        waits[number] = begins - now
        free[server] = begins + service
    return waits[count // 10 :]


def first_free(_: int, free: list[float], __: float) -> int:
    return free.index(min(free))


def by_picture(number: int, free: list[float], _: float) -> int:
    return sha256(number.to_bytes(4)).digest()[0] % len(free)


def by_picture_unless_full(number: int, free: list[float], now: float) -> int:
    """To its picture's server, or to the next one where more than four mean answers wait there."""
    preferred = by_picture(number, free, now)
    return preferred if free[preferred] - now < 4 else (preferred + 1) % len(free)


@pytest.mark.parametrize(("servers", "load", "variation"), [(1, 0.7, 0.5), (4, 0.8, 0.7), (20, 0.9, 1.0)])
def test_one_queue_waits_as_simulated(servers: int, load: float, variation: float) -> None:
    waits = simulated(load * servers, 1.0, variation, servers, first_free, 60_000)
    computed = plan.shared_queue(load * servers, 1.0, variation, servers)
    assert computed.mean == pytest.approx(waits.mean(), rel=0.15)
    assert computed.p95 == pytest.approx(np.quantile(waits, 0.95), rel=0.2)


def test_affinity_waits_between_one_queue_and_separate_queues() -> None:
    servers, load, variation = 8, 0.8, 0.7
    rate = load * servers
    pooled, separate = (form(rate, 1.0, variation, servers) for form in (plan.shared_queue, plan.separate_queues))
    waits = simulated(rate, 1.0, variation, servers, by_picture, 60_000).mean()
    assert waits == pytest.approx(separate.mean, rel=0.15)
    spilled = simulated(rate, 1.0, variation, servers, by_picture_unless_full, 60_000).mean()
    assert pooled.mean < spilled < waits


def test_cache_hits_without_affinity_are_as_simulated() -> None:
    """Three questions about each of many pictures, each sent to any of the replicas."""
    rng = np.random.default_rng(2)
    for replicas in (2, 10):
        sent = rng.integers(replicas, size=(50_000, 3))
        cached = [np.zeros(len(sent), bool), sent[:, 1] == sent[:, 0], (sent[:, 2:] == sent[:, :2]).any(1)]
        assert MEASURED.hits_anywhere(replicas) == pytest.approx(np.mean(cached), abs=0.01)


def test_erlangs_c_has_its_known_values() -> None:
    assert plan.erlang_c(1, 0.7) == pytest.approx(0.7)
    assert plan.erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert 0 < plan.erlang_c(100, 80) < 0.05  # no overflow


def test_the_lowest_limit_comes_first() -> None:
    small = plan.plan(MEASURED, 4, 0.8)
    assert small.seconds == 1.5 and small.rate == pytest.approx(0.8 * 4 / 1.5) and small.limits[0].name == "replicas"
    large = plan.plan(MEASURED, 200, 0.8)
    assert large.limits[0].name == "one front and its proxy" and large.limits[0].rate == pytest.approx(100)
    assert large.limits[0].needed == 2
    narrow = plan.plan(MEASURED, 200, 0.8, link=1e6)
    assert narrow.limits[0].name == "the head node's link" and narrow.limits[0].rate == pytest.approx(2.5)
    assert plan.plan(MEASURED, 4, 0.8, 2e9).limits[0].rate == pytest.approx(10 * plan.GIGABIT / 4e9)
    assert any("200 replicas, 80%" in line for line in plan.report(MEASURED, large))


def test_a_waiting_room_of_that_size_refuses_one_in_a_thousand() -> None:
    """Against a simulation of an unlimited queue with exponential answers: how often it is longer than the room."""
    measured = ServiceFigures(1.0, 1.0, 1.0, 0.01, 2e5, 4e6, 4e8, 30.0, 1.5, 0.5, 0.25, 3)
    planned = plan.plan(measured, 4, 0.8)
    rng = np.random.default_rng(1)
    now, ends, waiting, over = 0.0, [], 0, 0
    count = 300_000
    for _ in range(count):
        now += rng.exponential(1 / planned.rate)
        while ends and ends[0] <= now:
            end = heapq.heappop(ends)
            if waiting:
                waiting -= 1
                heapq.heappush(ends, end + rng.exponential(1.0))
        over += waiting >= planned.waiting_room
        if len(ends) < 4:
            heapq.heappush(ends, now + rng.exponential(1.0))
        else:
            waiting += 1
    assert 0.0003 < over / count < 0.003


def test_more_than_can_be_served_is_refused() -> None:
    with pytest.raises(VlmDemoError, match=r"2 replicas answer 2\.00"):
        plan.shared_queue(2.5, 1.0, 0.5, 2)


def test_measurements_are_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "serving.json"
    path.write_text(json.dumps({"measured": plan.as_json(MEASURED)}))
    assert plan.read(path) == MEASURED
    path.write_text("{}")
    with pytest.raises(VlmDemoError, match="bench --serving"):
        plan.read(path)
