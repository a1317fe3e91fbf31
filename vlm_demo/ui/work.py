"""Work: a computation for a page → its final state, and when to redraw. Knows neither HTML nor the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Protocol, TypeVar

from vlm_demo.engines.registry import UNEXPECTED, log_unexpected
from vlm_demo.errors import Stopped, VlmDemoError
from vlm_demo.ui.chat_turn import ChatTurn

Step = TypeVar("Step")


class Work(Protocol):
    """Something that is computed for a page: ``state`` as in `ChatTurn`, and ``problem``, why it failed."""

    state: str
    problem: str


@contextmanager
def capture_failure(work: Work) -> Iterator[None]:
    """Turn an exception inside into the state of ``work`` and one sentence; nothing is raised further."""
    try:
        yield
    except Stopped:
        work.state = "stopped"
    except VlmDemoError as error:
        work.state, work.problem = "failed", str(error)
    except Exception as error:
        log_unexpected(error)
        work.state, work.problem = "failed", UNEXPECTED


def measure(pending: list[ChatTurn], measured: str, work: Callable[[ChatTurn], None]) -> None:
    """Run pending measurements of some answers until a new question comes; what that interrupts stays pending.

    Args:
        measured: the field of an exchange that is set to True afterwards.
        work: measures one of them.
    """
    for exchange in pending:
        try:
            work(exchange)
        except Stopped:
            return
        except VlmDemoError:  # a model that records nothing, or another model than the one that answered
            pass
        except Exception as error:
            log_unexpected(error)
        setattr(exchange, measured, True)


def frames(steps: Generator[Step, None, None], pause: float) -> Iterator[Step]:
    """The ``steps`` to draw: true ones, and others at least ``pause`` seconds apart. Closes ``steps``."""
    drawn = 0.0
    with closing(steps):
        for step in steps:
            if step or time.perf_counter() - drawn > pause:
                drawn = time.perf_counter()
                yield step
