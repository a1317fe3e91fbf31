"""Work: what a page waits for → how it went, and when to draw it again. Knows neither HTML nor the model."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Protocol, TypeVar

from vlm_demo.engines.registry import UNEXPECTED, log_unexpected
from vlm_demo.errors import Stopped, VlmDemoError

Step = TypeVar("Step")


class Work(Protocol):
    """Something that is computed for a page: ``state`` as in `ChatTurn`, and ``problem``, why it failed."""

    state: str
    problem: str


@contextmanager
def telling(work: Work) -> Iterator[None]:
    """What goes wrong inside becomes the state of ``work`` and one sentence, and goes no further."""
    try:
        yield
    except Stopped:
        work.state = "stopped"
    except VlmDemoError as error:
        work.state, work.problem = "failed", str(error)
    except Exception as error:
        log_unexpected(error)
        work.state, work.problem = "failed", UNEXPECTED


def frames(steps: Generator[Step, None, None], pause: float) -> Iterator[Step]:
    """Those of ``steps`` that are drawn: true ones, and others at least ``pause`` seconds apart. Closes ``steps``."""
    drawn = 0.0
    with closing(steps):
        for step in steps:
            if step or time.perf_counter() - drawn > pause:
                drawn = time.perf_counter()
                yield step
