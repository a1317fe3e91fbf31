"""FAQ: frequent questions about VLMs as experiments, each with its results, and some to be tried. The tab's components,
and their events."""

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
from vlm_demo.ui.session import Session
from vlm_demo.ui.sessions import session_locked
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.faq import panel, trial
from vlm_demo.ui.tabs.faq.trial import OCR, WRONG, Trial
from vlm_demo.ui.tabs.tab_events import TabParts, at_once, queued
from vlm_demo.ui.work import capture_failure

LINE = 16  # pages that may be queued at a time
NO_QUESTION = "There is no question of yours yet: ask about a picture in Chat first."
NAME = "faq"  # in a session's tabs

Changes = dict[Any, Any]


@dataclass(eq=False)
class FaqParts(TabParts):
    """The components of the tab that events change."""

    tried: gr.HTML
    live: gr.HTML


@dataclass(eq=False)
class FaqState:
    """A page's state of the tab: the last trial, and the question that it is about."""

    trial: Trial | None = None
    turn: ChatTurn | None = None

    def conversation_changed(self, turns: list[ChatTurn]) -> None:
        """Where the trial's question was removed, drop the trial."""
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

    def state(self, session: Session) -> FaqState:
        """A page's state of the tab; a fresh one at first."""
        with session.lock:
            found = session.tabs.get(NAME)
            if not isinstance(found, FaqState):
                found = session.tabs[NAME] = FaqState()
            return found

    def _drawn(self, session: Session, problem: str = "") -> Changes:
        state = self.state(session)
        return {self.parts.tried: panel.trial(state.trial, problem), self.parts.live: panel.live(state.trial)}

    @session_locked
    def choose(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Prepare a trial, and leave it for ``work``. What can't be tried changes nothing."""
        session = self.sessions.of(request.session_hash)
        state = self.state(session)
        name = getattr(event, "experiment", None)
        if name not in (WRONG, OCR) or (state.trial and state.trial.running):
            return {self.parts.live: gr.skip()}
        turn = next(
            (exchange for exchange in reversed(session.exchanges) if exchange.answer and not exchange.running), None
        )
        if turn is None and name == WRONG:
            return self._drawn(session, NO_QUESTION)
        state.turn, state.trial = turn, Trial(name)
        return self._drawn(session)

    def work(self, request: gr.Request) -> Iterator[Changes]:
        """Run the trial, in the model's queue."""
        session = self.sessions.of(request.session_hash)
        state = self.state(session)
        current, turn = state.trial, state.turn
        if current is None or current.started or current.state != "waiting":
            yield {self.parts.live: gr.skip()}
            return
        current.started = True

        def unwanted() -> bool:
            return current.stop.is_set() or session.closed.is_set()

        try:
            with capture_failure(current), self.service.engine(unwanted) as engine:
                engine_request = self._request(session, turn, unwanted)
                steps = (
                    trial.ocr(engine, engine_request, current)
                    if current.name == OCR
                    else trial.wrong(engine, engine_request, current)
                )
                with closing(steps):
                    for _ in steps:
                        if unwanted():
                            raise Stopped("Stopped.")
                        yield self._drawn(session)
        finally:
            if current.running:  # the page was closed, or Gradio closed this generator
                current.stop.set()
                current.state = "stopped"
            if session.closed.is_set():
                self.service.forget(session.visitor)
        yield self._drawn(session)

    def _request(self, session: Session, turn: ChatTurn | None, unwanted: Any) -> Request:
        """The request of the chat's last question; without one, an empty request with the page's settings.

        Raises:
            Stopped: the question was removed meanwhile.
        """
        settings = {"cancelled": unwanted, "visitor": session.visitor}
        ocr_settings = session.with_languages(self.ocr_settings)
        if turn is None:
            return Request((), "", ocr_settings=ocr_settings, **settings)
        images, history = session.context(turn)
        return Request(
            tuple(images), turn.question, ocr=turn.ocr, history=tuple(history), ocr_settings=ocr_settings, **settings
        )

    @session_locked
    def halt(self, request: gr.Request) -> Changes:
        """Unqueued, so that it is handled while a trial runs."""
        session = self.sessions.of(request.session_hash)
        if current := self.state(session).trial:
            current.stop.set()
            if current.state == "waiting":
                current.state = "stopped"
        return self._drawn(session)


def build(events: Events, service: ModelRegistry) -> None:
    """Build the tab's components in the current column, and wire their events."""
    with gr.Row(elem_id="faq-columns"):
        with gr.Column(elem_id="faq-left", scale=56, min_width=0):
            findings = bound_html("faq-found", panel.draw(), binds=("choose",))
        with gr.Column(elem_id="faq-right", scale=44, min_width=0):
            live = bound_html("faq-live", binds=("halt",))
            tried = bound_html("faq-tried", panel.trial(None))
    parts = FaqParts(tried, live)
    handlers = FaqEvents(events, service, parts)
    pressed = at_once(parts)
    findings.choose(handlers.choose, None, **pressed).then(handlers.work, None, **queued(parts, "faq", LINE))
    live.halt(handlers.halt, None, **pressed)
