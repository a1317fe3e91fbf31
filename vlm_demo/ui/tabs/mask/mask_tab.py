"""Mask: draw over a part of the picture and ask again without it. The tab's components, and their events."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from vlm_demo.contracts.engine import Engine, Request
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import VlmDemoError
from vlm_demo.images.hide import WAYS
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.bound_html import bound_html
from vlm_demo.ui.session import Session
from vlm_demo.ui.sessions import session_locked
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.mask import mask_panel
from vlm_demo.ui.tabs.mask.mask_panel import CELLS
from vlm_demo.ui.tabs.mask.masked_answer import MaskedAnswer, work
from vlm_demo.ui.tabs.tab_events import TabEvents, TabParts, at_once, queued
from vlm_demo.ui.work import capture_failure, frames

FRAME = 0.1  # seconds between two drawings of a streaming answer
LINE = 16  # pages that may be queued at a time
NOTHING_DRAWN = "Nothing is drawn over yet: paint over what the model shall not see."
NO_ANSWER = "There is no answer yet: ask about a picture in Chat first."

Changes = dict[Any, Any]


@dataclass(eq=False)
class MaskParts(TabParts):
    """The components of the tab that events change."""

    answers: gr.HTML
    paper: gr.HTML
    start: gr.HTML
    live: gr.HTML


@dataclass(eq=False)
class MaskState:
    """A page's state of the tab: the picture of ``turn`` that is drawn over, one of ``WAYS`` to hide it, and the
    result."""

    turn: ChatTurn | None = None
    picture: int = 0
    way: str = WAYS[0]
    masked: MaskedAnswer | None = None

    @property
    def running(self) -> bool:
        return self.masked is not None and self.masked.running

    def conversation_changed(self, turns: list[ChatTurn]) -> None:
        """Where the question was removed, drop its result."""
        if self.turn is None or self.turn in turns:
            return
        if self.masked:
            self.masked.stop.set()
        self.turn = self.masked = None


class MaskEvents(TabEvents[MaskParts, MaskState]):
    """The handlers of the tab, for all visitors."""

    def __init__(self, events: Events, service: ModelRegistry, parts: MaskParts) -> None:
        super().__init__(events, service, parts, MaskState)

    @session_locked
    def shown(self, request: gr.Request) -> Changes:
        """The tab is opened: take the chat's last answer. A drawing over the same picture stays."""
        session = self.sessions.of(request.session_hash)
        state = self.state(session)
        turn = next(
            (exchange for exchange in reversed(session.exchanges) if exchange.answer and not exchange.running), None
        )
        if turn is not state.turn and not state.running:
            state.turn, state.picture, state.masked = turn, 0, None
        return self._all(session)

    @session_locked
    def choose(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Choose how it is hidden, or which picture is drawn over. What does not exist changes nothing."""
        session = self.sessions.of(request.session_hash)
        state = self.state(session)
        if (way := str(getattr(event, "way", ""))) in WAYS:
            state.way = way
        picture = getattr(event, "picture", None)
        if isinstance(picture, int) and state.turn and 0 <= picture < len(state.turn.answer.views):
            state.picture = picture
        return self._all(session)

    def _all_but_paper(self, session: Session, problem: str = "") -> Changes:
        """All but the picture that is drawn over."""
        state = self.state(session)
        return {
            self.parts.start: mask_panel.start(state.turn, state.picture, state.way, state.running, problem),
            self.parts.answers: mask_panel.draw(state.turn, state.masked),
            self.parts.live: mask_panel.live(state.masked),
        }

    def _all(self, session: Session) -> Changes:
        state = self.state(session)
        return {**self._all_but_paper(session), self.parts.paper: mask_panel.paper(state.turn, state.picture)}

    @session_locked
    def ask(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Take the drawn mask, and leave it for ``ask_again``."""
        session = self.sessions.of(request.session_hash)
        state = self.state(session)
        if state.running:
            return {self.parts.live: gr.skip()}
        if state.turn is None or state.turn not in session.exchanges:
            return self._all_but_paper(session, NO_ANSWER)
        mask = mask_of(event)
        if mask is None or not mask.any():
            return self._all_but_paper(session, NOTHING_DRAWN)
        state.masked = MaskedAnswer(mask, state.picture, state.way)
        return self._all_but_paper(session)

    def ask_again(self, request: gr.Request) -> Iterator[Changes]:
        """Ask again without what was drawn over, in the model's queue."""
        session = self.sessions.of(request.session_hash)
        state = self.state(session)
        turn, masked = state.turn, state.masked
        if turn is None or masked is None or masked.started or masked.state != "waiting":
            yield {self.parts.live: gr.skip()}
            return
        masked.started = True

        def unwanted() -> bool:
            return masked.stop.is_set() or session.closed.is_set()

        try:
            with capture_failure(masked), self.service.engine(unwanted) as engine:
                engine_request = self._request(session, engine, turn, unwanted)
                for _ in frames(work(engine, engine_request, turn.answer.text, masked), FRAME):
                    yield {self.parts.live: mask_panel.live(masked)}
        finally:
            if masked.running:  # the page was closed, or Gradio closed this generator
                masked.stop.set()
                masked.state = "stopped"
            if session.closed.is_set():
                self.service.forget(session.visitor)
        yield self._all_but_paper(session)

    def _request(self, session: Session, engine: Engine, turn: ChatTurn, unwanted: Any) -> Request:
        """The request of the chat's question.

        Raises:
            VlmDemoError: another model or precision is in service than the one that answered.
            Stopped: the question was removed meanwhile.
        """
        if (engine.name, engine.precision) != (turn.model, turn.precision):
            raise VlmDemoError(
                f"{turn.model} ({turn.precision}) wrote this answer, and {engine.name} ({engine.precision}) is in "
                "service now: ask again in Chat first."
            )
        images, history = session.context(turn)
        return Request(
            tuple(images),
            turn.question,
            ocr=turn.ocr,
            evidence_only=turn.evidence_only,
            history=tuple(history),
            cancelled=unwanted,
            visitor=session.visitor,
            ocr_settings=session.with_languages(self.ocr_settings),
        )

    @session_locked
    def halt(self, request: gr.Request) -> Changes:
        """Unqueued, so that it is handled while something is being computed."""
        session = self.sessions.of(request.session_hash)
        if masked := self.state(session).masked:
            masked.stop.set()
            if masked.state == "waiting":
                masked.state = "stopped"
        return self._all_but_paper(session)


def mask_of(event: gr.EventData) -> np.ndarray | None:
    """The mask that mask.js sent: bool [height, width]; None where it is invalid."""
    width, height, bits = (getattr(event, name, None) for name in ("width", "height", "bits"))
    if not (isinstance(width, int) and isinstance(height, int) and isinstance(bits, str)):
        return None
    if not (0 < width <= CELLS and 0 < height <= CELLS and len(bits) <= CELLS * CELLS):
        return None
    try:
        cells = np.unpackbits(np.frombuffer(base64.b64decode(bits, validate=True), np.uint8))
    except ValueError:  # binascii's is one
        return None
    return cells[: width * height].reshape(height, width).astype(bool) if len(cells) >= width * height else None


def build(events: Events, service: ModelRegistry) -> None:
    """Build the tab's components in the current column, and wire their events."""
    with gr.Row(elem_id="mask-columns"):
        with gr.Column(elem_id="mask-left", scale=56, min_width=0):
            answers = bound_html("mask-said", mask_panel.draw(None, None))
        with gr.Column(elem_id="mask-right", scale=44, min_width=0):
            paper = bound_html("mask-paper")
            start = bound_html("mask-start", binds=("shown", "choose", "without"))
            live = bound_html("mask-live", binds=("halt",))
    parts = MaskParts(answers, paper, start, live)
    handlers = MaskEvents(events, service, parts)
    pressed = at_once(parts)
    start.shown(handlers.shown, None, **pressed)
    start.choose(handlers.choose, None, **pressed)
    start.without(handlers.ask, None, **pressed).then(handlers.ask_again, None, **queued(parts, "mask", LINE))
    live.halt(handlers.halt, None, **pressed)
