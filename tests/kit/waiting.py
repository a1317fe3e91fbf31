"""Waiting for what another thread does, where it can set no event."""

from __future__ import annotations

import threading
from collections.abc import Callable

LONG = 60  # seconds after which a test that hangs fails


def wait_until(true: Callable[[], bool]) -> bool:
    """Look until it is so; False if it never is."""
    pause = threading.Event()
    return any(true() or pause.wait(0.001) for _ in range(LONG * 1000))
