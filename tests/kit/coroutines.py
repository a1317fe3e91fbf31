"""Coroutines run from tests that are not asynchronous themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def busy_executor() -> Iterator[None]:
    """The running loop's default executor has no free thread until the block ends."""
    loop, go = asyncio.get_running_loop(), threading.Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    loop.run_in_executor(None, go.wait)
    try:
        yield
    finally:
        go.set()


def run(coroutine: Coroutine[object, object, T]) -> T:
    """What a coroutine returns, from a separate thread: Playwright keeps a loop running in the tests' thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
