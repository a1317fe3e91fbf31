"""Mask: draw over a part of the picture and ask again without it. What stands in the tab, and its events."""

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
from vlm_demo.ui.session import Session, alone
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.mask import mask_panel
from vlm_demo.ui.tabs.mask.mask_panel import CELLS
from vlm_demo.ui.tabs.mask.without import Without, work
from vlm_demo.ui.tabs.tab_events import TabEvents, TabParts, at_once, queued
from vlm_demo.ui.work import frames, telling

FRAME = 0.1  # seconds between two drawings of a growing answer
LINE = 16  # pages that may wait for their turn at a time
NOTHING_DRAWN = "Nothing is drawn over yet: paint over what the model shall not see."
NO_ANSWER = "There is no answer yet: ask about a picture in Chat first."

Changes = dict[Any, Any]


@dataclass(eq=False)
class MaskParts(TabParts):
    """The components of the tab that events change."""

    said: gr.HTML
    paper: gr.HTML
    start: gr.HTML
    live: gr.HTML


@dataclass(eq=False)
class Desk:
    """What a page draws over: a picture of the answer to ``turn``, hidden in one of ``WAYS``, and what came of it."""

    turn: ChatTurn | None = None
    picture: int = 0
    way: str = WAYS[0]
    without: Without | None = None

    @property
    def running(self) -> bool:
        return self.without is not None and self.without.running

    def follow(self, turns: list[ChatTurn]) -> None:
        """Questions were taken back: what was drawn over their pictures goes with them."""
        if self.turn is None or self.turn in turns:
            return
        if self.without:
            self.without.stop.set()
        self.turn = self.without = None


class MaskEvents(TabEvents[MaskParts, Desk]):
    """The handlers of the tab, for all visitors."""

    def __init__(self, events: Events, service: ModelRegistry, parts: MaskParts) -> None:
        super().__init__(events, service, parts, Desk)

    @alone
    def shown(self, request: gr.Request) -> Changes:
        """The tab is opened: the chat's last answer is what is asked again. A drawing over the same picture stays."""
        session = self.sessions.of(request.session_hash)
        desk = self.desk(session)
        turn = next((own for own in reversed(session.exchanges) if own.answer and not own.running), None)
        if turn is not desk.turn and not desk.running:
            desk.turn, desk.picture, desk.without = turn, 0, None
        return self._all(session)

    @alone
    def choose(self, event: gr.EventData, request: gr.Request) -> Changes:
        """How it is hidden, or which picture is drawn over. What does not exist changes nothing."""
        session = self.sessions.of(request.session_hash)
        desk = self.desk(session)
        if (way := str(getattr(event, "way", ""))) in WAYS:
            desk.way = way
        picture = getattr(event, "picture", None)
        if isinstance(picture, int) and desk.turn and 0 <= picture < len(desk.turn.answer.views):
            desk.picture = picture
        return self._all(session)

    def _laid(self, session: Session, problem: str = "") -> Changes:
        """All but the picture that is drawn over."""
        desk = self.desk(session)
        return {
            self.parts.start: mask_panel.start(desk.turn, desk.picture, desk.way, desk.running, problem),
            self.parts.said: mask_panel.draw(desk.turn, desk.without),
            self.parts.live: mask_panel.live(desk.without),
        }

    def _all(self, session: Session) -> Changes:
        desk = self.desk(session)
        return {**self._laid(session), self.parts.paper: mask_panel.paper(desk.turn, desk.picture)}

    @alone
    def ask(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Take what was drawn, and leave it for ``again``."""
        session = self.sessions.of(request.session_hash)
        desk = self.desk(session)
        if desk.running:
            return {self.parts.live: gr.skip()}
        if desk.turn is None or desk.turn not in session.exchanges:
            return self._laid(session, NO_ANSWER)
        mask = mask_of(event)
        if mask is None or not mask.any():
            return self._laid(session, NOTHING_DRAWN)
        desk.without = Without(mask, desk.picture, desk.way)
        return self._laid(session)

    def again(self, request: gr.Request) -> Iterator[Changes]:
        """Ask again without what was drawn over, in the queue of the model."""
        session = self.sessions.of(request.session_hash)
        desk = self.desk(session)
        turn, without = desk.turn, desk.without
        if turn is None or without is None or without.state != "waiting":
            yield {self.parts.live: gr.skip()}
            return

        def unwanted() -> bool:
            return without.stop.is_set() or session.closed.is_set()

        try:
            with telling(without), self.service.engine(unwanted) as engine:
                asked = self._asked(session, engine, turn, unwanted)
                for _ in frames(work(engine, asked, turn.answer.text, without), FRAME):
                    yield {self.parts.live: mask_panel.live(without)}
        finally:
            if without.running:  # the page was closed, or Gradio closed this generator
                without.stop.set()
                without.state = "stopped"
            if session.closed.is_set():
                self.service.forget(session.visitor)
        yield self._laid(session)

    def _asked(self, session: Session, engine: Engine, turn: ChatTurn, unwanted: Any) -> Request:
        """The question as the chat asked it.

        Raises:
            VlmDemoError: another model or precision is in service than the one that answered.
            Stopped: the question was taken back meanwhile.
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
            ocr_settings=session.reading(self.ocr_settings),
        )

    @alone
    def halt(self, request: gr.Request) -> Changes:
        """Unqueued, so that it is heard while something is being computed."""
        session = self.sessions.of(request.session_hash)
        if without := self.desk(session).without:
            without.stop.set()
            if without.state == "waiting":
                without.state = "stopped"
        return self._laid(session)


def mask_of(event: gr.EventData) -> np.ndarray | None:
    """What was drawn, as mask.js tells it: bool [height, width]; None where that can't be."""
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


def place(events: Events, service: ModelRegistry) -> None:
    """Put the tab's components into the column that is open, and set off its events."""
    with gr.Row(elem_id="mask-columns"):
        with gr.Column(elem_id="mask-left", scale=56, min_width=0):
            said = bound_html("mask-said", mask_panel.draw(None, None))
        with gr.Column(elem_id="mask-right", scale=44, min_width=0):
            paper = bound_html("mask-paper")
            start = bound_html("mask-start", binds=("shown", "choose", "without"))
            live = bound_html("mask-live", binds=("halt",))
    parts = MaskParts(said, paper, start, live)
    own = MaskEvents(events, service, parts)
    pressed = at_once(parts)
    start.shown(own.shown, None, **pressed)
    start.choose(own.choose, None, **pressed)
    start.without(own.ask, None, **pressed).then(own.again, None, **queued(parts, "mask", LINE))
    live.halt(own.halt, None, **pressed)
