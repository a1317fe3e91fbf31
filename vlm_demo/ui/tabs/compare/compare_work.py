"""Compare work: columns that wait → their answers, one after another, each drawn as soon as it is done.

They are answered by the engine that all pages share, or by a side engine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, suppress
from typing import Any
from weakref import WeakSet

from PIL import Image

from vlm_demo.contracts import OcrSettings
from vlm_demo.contracts.engine import Engine, Request
from vlm_demo.contracts.sampling import Sampling
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import VlmDemoError
from vlm_demo.ui.components import model_menu
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.compare import first_token
from vlm_demo.ui.tabs.compare.comparison import Column, Comparison
from vlm_demo.ui.work import capture_failure, frames

FRAME = 0.1  # seconds between two drawings of the progress
POLL = 0.3  # seconds between two polls of the place in the queue


class CompareWork:
    """Answers the comparisons of all pages, one comparison at a time."""

    def __init__(self, service: ModelRegistry, ocr_settings: OcrSettings) -> None:
        self.service, self.ocr_settings = service, ocr_settings
        self._lock = threading.Lock()
        self._line: list[tuple[Session, Comparison]] = []  # the first one is running
        self._warm: WeakSet[Engine] = WeakSet()

    def run(self, session: Session, comparison: Comparison) -> Iterator[int | None]:
        """Answer all columns, yielding after each change: how many comparisons come first, 0 where only the progress
        has changed, None where the table has."""
        comparison.started = True
        entry = (session, comparison)
        with self._lock:
            self._line.append(entry)
        try:
            while ahead := self._ahead(entry):
                if _unwanted(session, comparison):
                    break
                yield ahead
                time.sleep(POLL)
            for column in comparison.columns:
                yield from self._column(session, comparison, column)
        finally:
            with self._lock:
                self._line.remove(entry)
            comparison.end()  # columns that were not reached: it was stopped, or the page was closed

    def _ahead(self, entry: tuple[Session, Comparison]) -> int:
        """How many comparisons of other open pages come first."""
        with self._lock:
            before = self._line[: self._line.index(entry)]
        return sum(not session.closed.is_set() for session, _ in before)

    def _column(self, session: Session, comparison: Comparison, column: Column) -> Iterator[int | None]:
        """Answer one column. Its error is shown in it, and the others are asked all the same."""
        if _unwanted(session, comparison):
            column.turn.state = "stopped"
            return
        try:
            with capture_failure(column.turn):
                for table_changed in frames(self._compute(session, comparison, column), FRAME):
                    yield None if table_changed else 0
        finally:
            column.loading = False
            self.service.forget(column.visitor)
        yield None

    def _compute(self, session: Session, comparison: Comparison, column: Column) -> Generator[bool, None, None]:
        """Run an engine for one column, yielding after each change of it; True where the table shows it."""
        turn = column.turn

        def unwanted() -> bool:
            return _unwanted(session, comparison)

        column.loading = self._needs_side_engine(column)
        yield True
        with self._engine(column, unwanted) as engine:
            self._warm_up(engine, unwanted)
            column.loading, turn.state = False, "running"
            turn.model, turn.precision = engine.name, engine.precision
            yield True
            alternatives = first_token.REQUESTED if engine.capabilities.alternatives else 0
            request = Request(
                tuple(turn.sources),
                turn.question,
                ocr=turn.ocr,
                evidence_only=turn.evidence_only,
                cancelled=unwanted,
                sampling=Sampling(alternatives=alternatives),
                visitor=column.visitor,
                ocr_settings=session.with_languages(self.ocr_settings),
            )
            stream: Any = engine.stream(request)
            with closing(stream):
                for event in stream:
                    answer = turn.receive(event)
                    yield False
            assert answer is not None
            turn.outside = model_menu.outside(engine, answer.views)
            with session.lock:
                turn.complete(answer)
                comparison.figures.clear()  # with another answer the maps may have another common scale
                if column is comparison.reference:
                    comparison.first_look()
            yield True
            if engine.capabilities.explains and not answer.stopped:
                with suppress(VlmDemoError):  # nothing was recorded, or it was stopped: there is no badge
                    turn.grounding = engine.grounding(answer, cancelled=unwanted)

    def _needs_side_engine(self, column: Column) -> bool:
        return bool(column.model) and (column.model, column.quantize) != (self.service.model, self.service.quantize)

    def _engine(self, column: Column, unwanted: Callable[[], bool]) -> AbstractContextManager[Engine]:
        if self._needs_side_engine(column):
            return self.service.side_engines.engine(column.model, column.quantize, unwanted)
        return self.service.engine(unwanted)

    def _warm_up(self, engine: Engine, unwanted: Callable[[], bool]) -> None:
        """Run once, so that one-time costs are not counted for the first column."""
        if engine not in self._warm:
            picture = Image.new("RGB", (224, 224), "white")
            for _ in engine.stream(Request((picture,), "Describe.", max_new_tokens=3, cancelled=unwanted)):
                pass
            self._warm.add(engine)


def _unwanted(session: Session, comparison: Comparison) -> bool:
    return comparison.stop.is_set() or session.closed.is_set()
