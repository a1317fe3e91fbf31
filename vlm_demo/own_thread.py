"""Own thread: work that may take long, in a thread that is not taken from the few of a pool."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def started(work: Callable[[], Result]) -> Future[Result]:
    """What ``work`` will return or raise; it runs to its end, whoever still waits for it."""
    done: Future[Result] = Future()
    done.set_running_or_notify_cancel()  # so that it can't be cancelled any more

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done
