"""FAQ: the field's questions as experiments, each with what it found, and some to be tried. What stands in the tab, and
its events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vlm_demo.contracts.engine import Request
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import Stopped
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.bound_html import bound_html
from vlm_demo.ui.session import Session, alone
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.faq import panel, trial
from vlm_demo.ui.tabs.faq.trial import OCR, WRONG, Trial
from vlm_demo.ui.work import telling

LINE = 16  # pages that may wait for their turn at a time
NO_QUESTION = "There is no question of yours yet: ask about a picture in Chat first."
NAME = "faq"  # in a session's tabs

Changes = dict[Any, Any]


@dataclass(eq=False)
class FaqParts:
    """The components of the tab that events change."""

    tried: gr.HTML
    live: gr.HTML

    def all(self) -> list[Any]:
        """Every component."""
        return list(vars(self).values())


@dataclass(eq=False)
class Bench:
    """What a page tries: the last trial, and the question that it is about."""

    trial: Trial | None = None
    turn: ChatTurn | None = None

    def follow(self, turns: list[ChatTurn]) -> None:
        """Questions were taken back: what was tried on their pictures goes with them."""
        if self.turn is None or self.turn in turns:
            return
        if self.trial:
            self.trial.stop.set()
        self.trial = self.turn = None


class FaqEvents:
    """The handlers of the tab, for all visitors."""

    def __init__(self, events: Events, service: ModelRegistry, parts: FaqParts) -> None:
        self.sessions, self.service, self.parts = events.sessions, service, parts
        self.ocr_settings = events.ocr_settings

    def bench(self, session: Session) -> Bench:
        """What a page tries; nothing at first."""
        with session.lock:
            found = session.tabs.get(NAME)
            if not isinstance(found, Bench):
                found = session.tabs[NAME] = Bench()
            return found

    def _drawn(self, session: Session, problem: str = "") -> Changes:
        bench = self.bench(session)
        return {self.parts.tried: panel.trial(bench.trial, problem), self.parts.live: panel.live(bench.trial)}

    @alone
    def choose(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Begin a trial, and leave it for ``work``. What can't be tried changes nothing."""
        session = self.sessions.of(request.session_hash)
        bench = self.bench(session)
        name = getattr(event, "experiment", None)
        if name not in (WRONG, OCR) or (bench.trial and bench.trial.running):
            return {self.parts.live: gr.skip()}
        turn = next((own for own in reversed(session.exchanges) if own.answer and not own.running), None)
        if turn is None and name == WRONG:
            return self._drawn(session, NO_QUESTION)
        bench.turn, bench.trial = turn, Trial(name)
        return self._drawn(session)

    def work(self, request: gr.Request) -> Iterator[Changes]:
        """Try it, in the queue of the model."""
        session = self.sessions.of(request.session_hash)
        bench = self.bench(session)
        own, turn = bench.trial, bench.turn
        if own is None or own.state != "waiting":
            yield {self.parts.live: gr.skip()}
            return

        def unwanted() -> bool:
            return own.stop.is_set() or session.closed.is_set()

        try:
            with telling(own), self.service.engine(unwanted) as engine:
                asked = self._asked(session, turn, unwanted)
                steps = trial.ocr(engine, asked, own) if own.name == OCR else trial.wrong(engine, asked, own)
                with closing(steps):
                    for _ in steps:
                        if unwanted():
                            raise Stopped("Stopped.")
                        yield self._drawn(session)
        finally:
            if own.running:  # the page was closed, or Gradio closed this generator
                own.stop.set()
                own.state = "stopped"
            if session.closed.is_set():
                self.service.forget(session.visitor)
        yield self._drawn(session)

    def _asked(self, session: Session, turn: ChatTurn | None, unwanted: Any) -> Request:
        """The chat's last question as it was asked; without one, what the page's settings give to any question.

        Raises:
            Stopped: the question was taken back meanwhile.
        """
        settings = {"cancelled": unwanted, "visitor": session.visitor}
        reading = session.reading(self.ocr_settings)
        if turn is None:
            return Request((), "", ocr_settings=reading, **settings)
        images, history = session.context(turn)
        return Request(
            tuple(images), turn.question, ocr=turn.ocr, history=tuple(history), ocr_settings=reading, **settings
        )

    @alone
    def halt(self, request: gr.Request) -> Changes:
        """Unqueued, so that it is heard while something is being tried."""
        session = self.sessions.of(request.session_hash)
        if own := self.bench(session).trial:
            own.stop.set()
            if own.state == "waiting":
                own.state = "stopped"
        return self._drawn(session)


def place(events: Events, service: ModelRegistry) -> None:
    """Put the tab's components into the column that is open, and set off its events."""
    with gr.Row(elem_id="faq-columns"):
        with gr.Column(elem_id="faq-left", scale=56, min_width=0):
            found = bound_html("faq-found", panel.draw(), binds=("choose",))
        with gr.Column(elem_id="faq-right", scale=44, min_width=0):
            live = bound_html("faq-live", binds=("halt",))
            tried = bound_html("faq-tried", panel.trial(None))
    parts = FaqParts(tried, live)
    own = FaqEvents(events, service, parts)
    private = {"api_visibility": "private", "api_name": "page"}
    at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden", "outputs": parts.all(), **private}
    queued = {**at_once, "queue": True, "concurrency_id": "faq", "concurrency_limit": LINE}
    found.choose(own.choose, None, **at_once).then(own.work, None, **queued)
    live.halt(own.halt, None, **at_once)
