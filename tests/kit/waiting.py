"""Waiting for what another thread or process does, where it can set no event."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psutil

LONG = 60  # seconds after which a test that hangs fails


def wait_until(true: Callable[[], bool]) -> bool:
    """Look until it is so; False if it never is."""
    pause = threading.Event()
    return any(true() or pause.wait(0.001) for _ in range(LONG * 1000))


def gone(process: int) -> bool:
    """Whether a process, by its id, has ended."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
