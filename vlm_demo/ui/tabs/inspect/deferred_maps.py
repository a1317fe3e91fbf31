"""Deferred maps: what the model computes about a finished answer.

Maps that need more than the recorded attention, on demand; and, after every answer, whether it rests on the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from vlm_demo.contracts import MapRequest
from vlm_demo.contracts.engine import Engine
from vlm_demo.engines.registry import UNEXPECTED, ModelRegistry, log_unexpected
from vlm_demo.errors import Stopped, VlmDemoError
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.page_components import Changes, PageComponents
from vlm_demo.ui.session import Session
from vlm_demo.ui.sessions import Sessions, session_locked
from vlm_demo.ui.tabs.inspect.map_job import Job
from vlm_demo.ui.tabs.inspect.panels import method_menu
from vlm_demo.ui.work import measure

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer


class DeferredMaps:
    """The handlers that call the model again, for all visitors of the page."""

    def __init__(self, sessions: Sessions, parts: PageComponents, service: ModelRegistry):
        self.sessions, self.parts, self.service = sessions, parts, service

    @session_locked
    def compute(self, request: gr.Request) -> Changes:
        """The shown word's map by a method that is not free: leave it for ``work``."""
        session = self.sessions.of(request.session_hash)
        name = method_menu.shown(session) if session.shown else None
        session.halt()
        if session.shown and name and not method_menu.is_free(name):
            session.job = Job((session.shown, session.word, name))
        return self.parts.map(session)

    def work(self, request: gr.Request) -> Iterator[Changes]:
        """Compute the maps that wait in this session, in the model's queue."""
        session = self.sessions.of(request.session_hash)
        job = session.job
        if job is None or job.running or job.problem:
            yield {self.parts.heatmap: gr.skip()}
            return
        exchange, word, name = job.wanted
        try:
            with self.service.engine(job.stop.is_set) as engine:
                job.running = True
                yield self.parts.map(session)
                for number, heat in enumerate(maps_of(engine, session, exchange, word, name, job.stop.is_set)):
                    if session.shown is exchange:
                        session.remember_map((exchange, word, number, name, None), heat, costly=True)
        except Stopped:
            job.stop.set()
        except VlmDemoError as error:
            job.problem = str(error)
        except Exception as error:
            log_unexpected(error)
            job.problem = UNEXPECTED
        if session.job is job and not job.problem:
            session.job = None
        yield self.parts.map(session)

    @session_locked
    def halt(self, request: gr.Request) -> Changes:
        """Unqueued, so that it is handled while maps are being computed."""
        session = self.sessions.of(request.session_hash)
        session.halt()
        return self.parts.map(session)

    def ground(self, request: gr.Request) -> Iterator[Changes]:
        """Measure the grounding of the answers that have no badge yet, in the model's queue. A new question comes
        first: what it interrupts is measured after its answer."""
        session = self.sessions.of(request.session_hash)
        waiting = [turn for turn in session.exchanges if turn.state == "done" and turn.answer and not turn.judged]
        measure(waiting, "judged", lambda exchange: self._judge(session, exchange))
        if not waiting:
            yield {self.parts.heatmap: gr.skip()}
            return
        with session.lock:
            changes = {**self.parts.conversation(session), **self.parts.map(session), **self.parts.read_text(session)}
        yield changes

    def _judge(self, session: Session, exchange: ChatTurn) -> None:
        unwanted = partial(session.unwanted, exchange)
        with self.service.engine(unwanted) as engine:
            exchange.grounding = engine.grounding(with_uploads(engine, session, exchange), cancelled=unwanted)


def maps_of(
    engine: Engine, session: Session, exchange: ChatTurn, index: int, name: str, cancelled: Callable[[], bool]
) -> Iterator[np.ndarray]:
    """One word's map over each picture, in the size in which the page shows it.

    Raises:
        VlmDemoError: another model is in service than the one that answered.
        Stopped: ``cancelled()`` turned True.
    """
    answer = with_uploads(engine, session, exchange)
    for number, view in enumerate(exchange.answer.views):
        wanted = MapRequest(answer.words[index], number, name)
        heat = engine.heatmap(answer, wanted, cancelled=cancelled)
        yield np.asarray(Image.fromarray(heat).resize(view.size, Image.Resampling.BOX))


def with_uploads(engine: Engine, session: Session, exchange: ChatTurn) -> Answer:
    """The answer with its pictures as uploaded: the page's shrunk ones might be cut into other patches.

    Raises:
        VlmDemoError: another model is in service than the one that answered.
    """
    uploads, history = session.context(exchange)
    images: list[Any] = [*(picture for turn in history for picture in turn.images), *uploads]
    return engine.with_pictures(exchange.answer, images)
