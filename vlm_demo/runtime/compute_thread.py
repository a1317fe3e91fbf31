"""Compute thread: a model's computations → one thread, which has all cores for them.

A thread that computes on several cores has OpenMP threads of its own for it. As soon as there are more of all these
than cores, GNU's OpenMP lets them sleep after each product instead of waiting for the next one
(``gomp_managed_threads`` in its ``wait.h``), and a step of a small model takes almost twice as long. Servers answer in
many threads, so one computes for all of them, and the others do their little work on one core.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from vlm_demo.own_thread import started

T = TypeVar("T")
CORES = torch.get_num_threads()  # that torch uses, before anything here changes it
Job = tuple[Future[Any], Callable[[], Any]]


class ComputeThread:
    """Runs what it is called with in its thread, in the caller's context. The thread ends with the object, and at the
    program's end, whatever it computes."""

    def __init__(self) -> None:
        self._jobs = SimpleQueue[Job | None]()
        weakref.finalize(self, self._jobs.put, None)
        threading.Thread(target=_work, args=(self._jobs,), name="compute", daemon=True).start()

    def __call__(self, compute: Callable[[], T]) -> T:
        """Compute; returns or raises what ``compute`` does."""
        done: Future[T] = Future()
        self._jobs.put((done, partial(copy_context().run, compute)))
        try:
            return done.result()
        finally:
            wait([done])  # Ctrl-C ends the waiting, but nothing else may be computed meanwhile


def _work(jobs: SimpleQueue[Job | None]) -> None:
    _take_cores()
    while job := jobs.get():
        done, compute = job
        try:
            done.set_result(compute())
        except BaseException as error:
            done.set_exception(error)
        del job, done, compute  # or the last result would live until the next job


def elsewhere(load: Callable[[], T]) -> T:
    """Load something in a thread with all cores, which ends and so leaves no OpenMP threads behind; the calling thread
    keeps to one core from then on."""

    def work() -> T:
        _take_cores()
        return load()

    torch.set_num_threads(1)
    return started(work).result()


def _take_cores() -> None:
    """Let this thread compute on all cores, and those that begin to compute later on one."""
    torch.get_num_threads()  # a thread takes the process's number at its first use of torch, which would come later
    torch.set_num_threads(CORES)
    started(lambda: torch.set_num_threads(1)).result()
