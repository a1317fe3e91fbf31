"""Compare: the same picture and question in columns that differ in one thing. What stands in the tab, and its events.

Columns are answered one after another by the engine that all pages share, or by one beside it, which the operator alone
may have loaded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import gradio as gr
from PIL import Image

from vlm_demo.contracts.engine import Engine, Request
from vlm_demo.contracts.sampling import Sampling
from vlm_demo.engines.registry import UNEXPECTED, ModelRegistry, is_operator, log_unexpected
from vlm_demo.errors import Stopped, VlmDemoError
from vlm_demo.ui.components import model_menu
from vlm_demo.ui.components.bound_html import bound_html
from vlm_demo.ui.session import Session, alone
from vlm_demo.ui.tabs.chat import page_choice
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.compare import compare_panel, compare_start, first_token
from vlm_demo.ui.tabs.compare.comparison import Column, Comparison, Desk
from vlm_demo.ui.tabs.compare.presets import NAMES, NEEDS_OTHERS, NO_SECOND, ONLY_OPERATOR, Asked, Presets

FRAME = 0.1  # seconds between two drawings of how it goes
POLL = 0.3  # seconds between two looks at the place in the line
LINE = 16  # comparisons that may wait for their turn at a time
NO_QUESTION = "The question is empty: type what you want to know about the picture."
PICTURES = ["image", ".heic", ".heif", ".pdf"]

Changes = dict[Any, Any]
NAME = "compare"  # in a session's tabs


@dataclass(eq=False)
class CompareParts:
    """The components of the tab that events change."""

    start: gr.HTML
    question: gr.Textbox
    another: gr.UploadButton
    second: gr.UploadButton
    ask: gr.Button
    live: gr.HTML
    table: gr.HTML

    def all(self) -> list[Any]:
        """Every component."""
        return list(vars(self).values())


class CompareEvents:
    """The handlers of the tab, for all visitors."""

    def __init__(self, events: Events, service: ModelRegistry, parts: CompareParts) -> None:
        self.sessions, self.service, self.parts = events.sessions, service, parts
        self.ocr_settings = events.ocr_settings
        self.presets = Presets(service, events.ocr_settings)
        self._lock = threading.Lock()
        self._line: list[tuple[Session, Comparison]] = []  # the first one has its turn
        self._warm: WeakSet[Engine] = WeakSet()

    def desk(self, session: Session) -> Desk:
        """What a page has laid out; a fresh one at first."""
        with session.lock:
            found = session.tabs.get(NAME)
            if not isinstance(found, Desk):
                found = session.tabs[NAME] = Desk()
            return found

    # -- laying out -----------------------------------------------------------------------------------------------

    @alone
    def shown(self, question: str, request: gr.Request) -> Changes:
        """The tab is opened: picture and question are the chat's, as long as nothing else was chosen here."""
        session = self.sessions.of(request.session_hash)
        desk = self.desk(session)
        last = session.last.question if session.last else ""
        changes = self._laid(session, request)
        if desk.comparison is None:
            changes |= self._drawn(session)
        if question.strip() in ("", desk.filled) and question != last:
            desk.filled = last
            changes[self.parts.question] = last
        return changes

    @alone
    def choose(self, event: gr.EventData, request: gr.Request) -> Changes:
        """What varies; or the chat's picture again. What does not exist changes nothing."""
        session = self.sessions.of(request.session_hash)
        desk = self.desk(session)
        desk.problem = ""
        if (preset := str(getattr(event, "preset", ""))) in NAMES:
            desk.preset = preset
        if getattr(event, "picture", "") == "chat":
            desk.picture = None
        return self._laid(session, request)

    @alone
    def uploaded(self, path: str | None, request: gr.Request) -> Changes:
        """A picture of this tab alone."""
        return self._taken("picture", path, request)

    @alone
    def uploaded_second(self, path: str | None, request: gr.Request) -> Changes:
        """The other one of two pictures."""
        return self._taken("second", path, request)

    def _taken(self, which: str, path: str | None, request: gr.Request) -> Changes:
        session = self.sessions.of(request.session_hash)
        desk = self.desk(session)
        if path:
            found, problem = page_choice.opened([path], 1)
            self.sessions.discard([path])
            desk.problem = str(problem) if problem else ""
            if not problem:
                setattr(desk, which, found[0])
        return self._laid(session, request)

    def _laid(self, session: Session, request: gr.Request) -> Changes:
        """The head of the tab."""
        desk = self.desk(session)
        uploads = compare_start.uploads_of(session, desk)
        count = self.presets.count(desk.preset, len(uploads))
        parts = self.parts
        return {
            parts.start: compare_start.draw(desk, uploads, self.presets.closed(self._operator(request))),
            parts.second: gr.update(visible=desk.preset == "pictures" and len(uploads) < 2),
            parts.ask: gr.update(value=f"Ask {compare_start.COUNTS[count]}", interactive=not desk.running),
        }

    def _operator(self, request: gr.Request) -> bool:
        host = request.client.host if request.client else None
        return is_operator(host, request.headers, self.service.operator_token)

    # -- asking ---------------------------------------------------------------------------------------------------

    @alone
    def ask(self, question: str, request: gr.Request) -> Changes:
        """Check what was laid out, and leave it for ``compare``. Who may load other models is checked here, not only in
        the page."""
        session = self.sessions.of(request.session_hash)
        desk = self.desk(session)
        if desk.running:
            return {self.parts.live: gr.skip()}
        uploads = compare_start.uploads_of(session, desk)
        desk.problem = self._refusal(desk, question, uploads, request)
        if not desk.problem:
            last = session.last
            asked = Asked(question.strip(), uploads, bool(last and last.ocr), bool(last and last.evidence_only))
            desk.comparison = Comparison(question.strip(), self.presets.columns(desk.preset, asked, desk.second))
        return {**self._laid(session, request), **self._drawn(session)}

    def _refusal(self, desk: Desk, question: str, uploads: tuple[Any, ...], request: gr.Request) -> str:
        """Why it can't be asked so; empty where it can."""
        operator = self._operator(request)
        if desk.preset in NEEDS_OTHERS and not operator:
            return ONLY_OPERATOR
        if not uploads:
            return compare_start.NO_PICTURE
        if not question.strip():
            return NO_QUESTION
        if desk.preset == "pictures" and len(uploads) < 2 and desk.second is None:
            return NO_SECOND
        return self.presets.closed(operator).get(desk.preset, "")

    def compare(self, request: gr.Request) -> Iterator[Changes]:
        """Answer the columns that wait in this session, one after another; each shows as soon as it is there."""
        session = self.sessions.of(request.session_hash)
        comparison = self.desk(session).comparison
        if comparison is None or comparison.started:
            yield {self.parts.live: gr.skip()}
            return
        comparison.started = True
        own = (session, comparison)
        with self._lock:
            self._line.append(own)
        try:
            while ahead := self._ahead(own):
                if _unwanted(session, comparison):
                    break
                yield {self.parts.live: compare_start.live(comparison, ahead)}
                time.sleep(POLL)
            for column in comparison.columns:
                yield from self._column(session, comparison, column)
        finally:
            with self._lock:
                self._line.remove(own)
            comparison.end()  # what was not reached: stopped, or the page was closed
        yield {**self._drawn(session), self.parts.ask: gr.update(interactive=True)}

    def _ahead(self, own: tuple[Session, Comparison]) -> int:
        """How many comparisons of other open pages come first."""
        with self._lock:
            before = self._line[: self._line.index(own)]
        return sum(not session.closed.is_set() for session, _ in before)

    def _column(self, session: Session, comparison: Comparison, column: Column) -> Iterator[Changes]:
        """Answer one column. What goes wrong in it stands in it, and the others are asked all the same."""
        turn = column.turn
        if _unwanted(session, comparison):
            turn.state = "stopped"
            return
        drawn = 0.0
        try:
            with closing(self._compute(session, comparison, column)) as steps:
                for whole in steps:
                    if whole:
                        yield self._drawn(session)
                    elif time.perf_counter() - drawn > FRAME:
                        drawn = time.perf_counter()
                        yield {self.parts.live: compare_start.live(comparison)}
        except Stopped:
            turn.state = "stopped"
        except VlmDemoError as error:
            turn.state, turn.problem = "failed", str(error)
        except Exception as error:
            log_unexpected(error)
            turn.state, turn.problem = "failed", UNEXPECTED
        finally:
            column.loading = False
            self.service.forget(column.visitor)
        yield self._drawn(session)

    def _compute(self, session: Session, comparison: Comparison, column: Column) -> Generator[bool, None, None]:
        """Run an engine for one column, yielding after each change of it; True where the table shows it."""
        turn = column.turn

        def unwanted() -> bool:
            return _unwanted(session, comparison)

        column.loading = self._is_beside(column)
        yield True
        with self._engine(column, unwanted) as engine:
            self._warm_up(engine, unwanted)
            column.loading, turn.state = False, "running"
            turn.model, turn.precision = engine.name, engine.precision
            yield True
            alternatives = first_token.ASKED if engine.capabilities.alternatives else 0
            request = Request(
                tuple(turn.sources),
                turn.question,
                ocr=turn.ocr,
                evidence_only=turn.evidence_only,
                cancelled=unwanted,
                sampling=Sampling(alternatives=alternatives),
                visitor=column.visitor,
                ocr_settings=session.reading(self.ocr_settings),
            )
            stream: Any = engine.stream(request)
            with closing(stream):
                for event in stream:
                    answer = turn.hear(event)
                    yield False
            assert answer is not None
            turn.outside = model_menu.outside(engine, answer.views)
            with session.lock:
                turn.keep(answer)
                if column is comparison.reference:
                    comparison.first_look()
            yield True
            if engine.capabilities.explains and not answer.stopped:
                with suppress(VlmDemoError):  # nothing was recorded, or it was stopped: there is no badge
                    turn.grounding = engine.grounding(answer, cancelled=unwanted)

    def _is_beside(self, column: Column) -> bool:
        return bool(column.model) and (column.model, column.quantize) != (self.service.model, self.service.quantize)

    def _engine(self, column: Column, unwanted: Callable[[], bool]) -> AbstractContextManager[Engine]:
        if self._is_beside(column):
            return self.service.beside.engine(column.model, column.quantize, unwanted)
        return self.service.engine(unwanted)

    def _warm_up(self, engine: Engine, unwanted: Callable[[], bool]) -> None:
        """What is slow only the first time must not be counted against whoever comes first."""
        if engine not in self._warm:
            picture = Image.new("RGB", (224, 224), "white")
            for _ in engine.stream(Request((picture,), "Describe.", max_new_tokens=3, cancelled=unwanted)):
                pass
            self._warm.add(engine)

    # -- looking --------------------------------------------------------------------------------------------------

    @alone
    def look(self, event: gr.EventData, request: gr.Request) -> Changes:
        """A word of an answer: all columns show where they looked for it."""
        session = self.sessions.of(request.session_hash)
        comparison, word = self.desk(session).comparison, getattr(event, "word", None)
        if comparison and isinstance(word, list) and len(word) == 2:
            comparison.look(int(word[0]), int(word[1]))
        return self._drawn(session)

    @alone
    def step(self, event: gr.EventData, request: gr.Request) -> Changes:
        """The previous or next word of the answer whose word is looked at."""
        session = self.sessions.of(request.session_hash)
        if comparison := self.desk(session).comparison:
            column, index = comparison.word
            comparison.look(column, index + (1 if int(event.by) > 0 else -1))
        return self._drawn(session)

    @alone
    def halt(self, request: gr.Request) -> Changes:
        """Unqueued, so that it is heard while something is being computed."""
        session = self.sessions.of(request.session_hash)
        if comparison := self.desk(session).comparison:
            comparison.stop.set()
            if not comparison.started:
                comparison.end()
        return {self.parts.live: compare_start.live(comparison)}

    def _drawn(self, session: Session) -> Changes:
        """The table, and how it goes."""
        comparison = self.desk(session).comparison
        with session.lock:
            return {
                self.parts.table: compare_panel.draw(comparison, session.look),
                self.parts.live: compare_start.live(comparison),
            }


def _unwanted(session: Session, comparison: Comparison) -> bool:
    return comparison.stop.is_set() or session.closed.is_set()


def place(events: Events, service: ModelRegistry) -> None:
    """Put the tab's components into the column that is open, and set off its events."""
    with gr.Column(elem_id="compare-desk", elem_classes="panel", min_width=0):
        with gr.Row(elem_id="compare-ask"):
            question = gr.Textbox(
                placeholder="Ask about the picture",
                label="Question",
                show_label=False,
                container=False,
                max_lines=3,
                elem_id="compare-question",
                min_width=0,
            )
            another = _upload("Another picture", "compare-another")
            second = _upload("Second picture", "compare-second", visible=False)
            ask = gr.Button("Ask both", variant="primary", size="sm", elem_id="compare-go", scale=0, min_width=0)
        start = bound_html("compare-start", compare_start.draw(Desk(), (), {}), ("shown", "choose"))
    live = bound_html("compare-live", binds=("halt",))
    table = bound_html("compare-table", compare_panel.draw(None, Session().look), ("choose", "step"))
    parts = CompareParts(start, question, another, second, ask, live, table)
    own = CompareEvents(events, service, parts)
    private = {"api_visibility": "private", "api_name": "page"}
    at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden", "outputs": parts.all(), **private}
    queued = {**at_once, "queue": True, "concurrency_id": "compare", "concurrency_limit": LINE}
    start.shown(own.shown, [question], **at_once)
    start.choose(own.choose, None, **at_once)
    another.upload(own.uploaded, [another], **at_once)
    second.upload(own.uploaded_second, [second], **at_once)
    for press in (ask.click, question.submit):
        press(own.ask, [question], **at_once).then(own.compare, None, **queued)
    table.choose(own.look, None, **{**at_once, "trigger_mode": "always_last"})
    table.step(own.step, None, **{**at_once, "trigger_mode": "multiple"})
    live.halt(own.halt, None, **at_once)


def _upload(label: str, name: str, visible: bool = True) -> gr.UploadButton:
    return gr.UploadButton(
        label, file_types=PICTURES, size="sm", elem_id=name, elem_classes="plain", scale=0, min_width=0, visible=visible
    )
