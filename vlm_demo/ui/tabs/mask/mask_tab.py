"""Mask: draw over a part of the picture and ask again without it. What stands in the tab, and its events."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr
import numpy as np

from vlm_demo.contracts.engine import Engine, Request
from vlm_demo.engines.registry import UNEXPECTED, ModelRegistry, log_unexpected
from vlm_demo.errors import Stopped, VlmDemoError
from vlm_demo.images.hide import WAYS
from vlm_demo.ui import pictures
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.bound_html import bound_html
from vlm_demo.ui.session import Session, alone, put_back
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.mask import mask_panel
from vlm_demo.ui.tabs.mask.without import Without, work

FRAME = 0.1  # seconds between two drawings of a growing answer
CANVAS = 800  # longest side of the picture that is drawn over, pixels
LINE = 16  # pages that may wait for their turn at a time
INK = ("#b5432c", 0.7)  # seen through
NOTHING_DRAWN = "Nothing is drawn over yet: paint over what the model shall not see."
NO_ANSWER = "There is no answer yet: ask about a picture in Chat first."
FILE = "picture.png"

Changes = dict[Any, Any]


@dataclass(eq=False)
class MaskParts:
    """The components of the tab that events change."""

    said: gr.HTML
    start: gr.HTML
    editor: gr.ImageEditor
    ask: gr.Button
    live: gr.HTML

    def all(self) -> list[Any]:
        """Every component."""
        return list(vars(self).values())


@dataclass(eq=False)
class Desk:
    """What a page draws over: a picture of the answer to ``turn``.

    Attributes:
        shown: the picture that lies in the editor, and of which answer; None = none does.
        file: where Gradio fetches it for the page.
    """

    turn: ChatTurn | None = None
    picture: int = 0
    way: str = WAYS[0]
    shown: tuple[ChatTurn, int] | None = None
    file: str = ""
    without: Without | None = None

    @property
    def running(self) -> bool:
        return self.without is not None and self.without.running


class MaskEvents:
    """The handlers of the tab, for all visitors."""

    def __init__(self, events: Events, service: ModelRegistry, parts: MaskParts) -> None:
        self.sessions, self.service, self.parts = events.sessions, service, parts
        self.ocr_settings = events.ocr_settings
        self._desks: WeakKeyDictionary[Session, Desk] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def desk(self, session: Session) -> Desk:
        """What a page draws over; nothing at first."""
        with self._lock:
            return self._desks.setdefault(session, Desk())

    @alone
    def shown(self, request: gr.Request) -> Changes:
        """The tab is opened: the chat's last answer is what is asked again. A drawing over the same picture stays."""
        session = self.sessions.of(request.session_hash)
        desk = self.desk(session)
        turn = next((own for own in reversed(session.exchanges) if own.answer and not own.running), None)
        if turn is not desk.turn and not desk.running:
            desk.turn, desk.picture, desk.without = turn, 0, None
        return {**self._laid(session), **self._pictured(session)}

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
        return {**self._laid(session), **self._pictured(session)}

    def _laid(self, session: Session, problem: str = "") -> Changes:
        desk = self.desk(session)
        return {
            self.parts.start: mask_panel.start(desk.turn, desk.picture, desk.way, problem),
            self.parts.said: mask_panel.draw(desk.turn, desk.without),
            self.parts.live: mask_panel.live(desk.without),
            self.parts.ask: gr.update(interactive=desk.turn is not None and not desk.running),
        }

    def _pictured(self, session: Session) -> Changes:
        """The picture in the editor, where another one is meant than the one that lies there."""
        desk = self.desk(session)
        wanted = (desk.turn, desk.picture) if desk.turn else None
        if wanted == desk.shown:
            return {}
        desk.shown = wanted
        self.sessions.drop(session, [desk.file])
        if desk.turn is None:
            desk.file = ""
            return {self.parts.editor: None}
        image = pictures.shrunk(desk.turn.answer.views[desk.picture].image, CANVAS)
        own = ChatTurn("", False, False, (pictures.png(image),), (FILE,))
        (desk.file,) = put_back(own)
        self.sessions.claim(session, [desk.file])
        return {self.parts.editor: {"background": desk.file, "layers": [], "composite": None}}

    @alone
    def ask(self, drawn: dict[str, Any] | None, request: gr.Request) -> Changes:
        """Take what was drawn, and leave it for ``again``."""
        session = self.sessions.of(request.session_hash)
        desk = self.desk(session)
        if desk.running:
            return {self.parts.live: gr.skip()}
        if desk.turn is None or desk.turn not in session.exchanges:
            return self._laid(session, NO_ANSWER)
        mask = mask_of(drawn)
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

        drawn = 0.0
        try:
            with self.service.engine(unwanted) as engine:
                asked = self._asked(session, engine, turn, unwanted)
                with closing(work(engine, asked, turn.answer.text, without)) as steps:
                    for _ in steps:
                        if time.perf_counter() - drawn > FRAME:
                            drawn = time.perf_counter()
                            yield {self.parts.live: mask_panel.live(without)}
        except Stopped:
            without.state = "stopped"
        except VlmDemoError as error:
            without.state, without.problem = "failed", str(error)
        except Exception as error:
            log_unexpected(error)
            without.state, without.problem = "failed", UNEXPECTED
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


def mask_of(drawn: dict[str, Any] | None) -> np.ndarray | None:
    """What was drawn in the editor's layers (RGBA): bool [h, w]; None where there are none."""
    covers = [np.asarray(layer.convert("RGBA"))[..., 3] > 0 for layer in (drawn or {}).get("layers") or []]
    same = [cover for cover in covers if cover.shape == covers[0].shape]
    return np.logical_or.reduce(same) if same else None


def place(events: Events, service: ModelRegistry) -> None:
    """Put the tab's components into the column that is open, and set off its events."""
    with gr.Row(elem_id="mask-columns"):
        with gr.Column(elem_id="mask-left", scale=56, min_width=0):
            said = bound_html("mask-said", mask_panel.draw(None, None))
        with gr.Column(elem_id="mask-right", scale=44, min_width=0):
            start = bound_html("mask-start", mask_panel.start(None, 0, WAYS[0]), ("shown", "choose"))
            editor = gr.ImageEditor(
                type="pil",
                image_mode="RGBA",
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(default_size=40, colors=[INK], default_color=INK, color_mode="fixed"),
                placeholder=NO_ANSWER,
                canvas_size=(CANVAS, CANVAS),
                format="png",
                label="The picture to draw over",
                show_label=False,
                container=False,
                buttons=[],
                elem_id="mask-editor",
                min_width=0,
            )
            ask = gr.Button(
                "Ask again without this",
                variant="primary",
                size="sm",
                elem_id="mask-go",
                interactive=False,
                min_width=0,
            )
            live = bound_html("mask-live", binds=("halt",))
    parts = MaskParts(said, start, editor, ask, live)
    own = MaskEvents(events, service, parts)
    private = {"api_visibility": "private", "api_name": "page"}
    at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden", "outputs": parts.all(), **private}
    queued = {**at_once, "queue": True, "concurrency_id": "mask", "concurrency_limit": LINE}
    start.shown(own.shown, None, **at_once)
    start.choose(own.choose, None, **at_once)
    ask.click(own.ask, [editor], **at_once).then(own.again, None, **queued)
    live.halt(own.halt, None, **at_once)
