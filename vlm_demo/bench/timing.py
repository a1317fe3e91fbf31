"""Timing: seconds by one of two clocks, two things measured in turn, and the memory that a piece of work takes at most.

By the clock on the wall, or, for a machine that has other work as well, by the processor's time of this process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import psutil
import torch

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
SAMPLING = 0.002  # seconds

clock = CLOCKS["wall"]


def use(name: str) -> None:
    """Measure by this clock of CLOCKS; the processor's time is that of one thread, for others wait by computing."""
    global clock
    clock = CLOCKS[name]
    if name == "cpu":
        torch.set_num_threads(1)


def timed(work: Callable[[], Any]) -> float:
    began = clock()
    work()
    return clock() - began


def taking_turns(repeats: int, ours: Callable[[], float], plain: Callable[[], float]) -> tuple[float, float]:
    """The median of what each of the two returns, called in turn after one call each that does not count."""
    found = [(ours(), plain()) for _ in range(repeats + 1)][1:]
    return median(first for first, _ in found), median(second for _, second in found)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], int]]:
    """Hands out what tells, afterwards, how many bytes more than before were held at most: of the device, or, looked
    at every few milliseconds, of this process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        yield lambda: torch.cuda.max_memory_allocated(device) - held
        return
    process, over = psutil.Process(), threading.Event()
    before = most = process.memory_info().rss

    def look() -> None:
        nonlocal most
        while not over.wait(SAMPLING):
            most = max(most, process.memory_info().rss)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield lambda: most - before
    finally:
        over.set()
        looking.join()
