"""Again: what the model is asked once more about an answer that is there.

Maps that are not made of what was recorded, on demand; and, after every answer, whether it rests on the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from vlm_demo.engines.registry import UNEXPECTED, ModelRegistry, log_unexpected
from vlm_demo.errors import Stopped, VlmDemoError
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.page_components import Changes, PageComponents
from vlm_demo.ui.session import Session, Sessions
from vlm_demo.ui.tabs.inspect.map_options import Job
from vlm_demo.ui.tabs.inspect.panels import method_menu

if TYPE_CHECKING:
    from vlm_demo import Pipeline
    from vlm_demo.contracts import Answer


class DeferredMaps:
    """The handlers that ask the model again, for all visitors of the page."""

    def __init__(self, sessions: Sessions, parts: PageComponents, service: ModelRegistry):
        self.sessions, self.parts, self.service = sessions, parts, service

    def compute(self, request: gr.Request) -> Changes:
        """The shown word's map by a method that is not free: leave it for ``work``."""
        session = self.sessions.of(request.session_hash)
        name = method_menu.shown(session) if session.shown else None
        session.halt()
        if session.shown and name and not method_menu.is_free(name):
            session.job = Job((session.shown, session.word, name))
        return self.parts.map(session)

    def work(self, request: gr.Request) -> Iterator[Changes]:
        """Compute the maps that wait in this session, in the queue of the model."""
        session = self.sessions.of(request.session_hash)
        job = session.job
        if job is None or job.running or job.problem:
            yield {self.parts.heatmap: gr.skip()}
            return
        exchange, word, name = job.wanted
        try:
            with self.service.pipeline(job.stop.is_set) as pipe:
                job.running = True
                yield self.parts.map(session)
                for number, heat in enumerate(maps_of(pipe, session, exchange, word, name, job.stop.is_set)):
                    if session.shown is exchange:
                        session.keep((exchange, word, number, name, None), heat, dear=True)
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

    def halt(self, request: gr.Request) -> Changes:
        """Unqueued, so that it is heard while maps are being computed."""
        session = self.sessions.of(request.session_hash)
        session.halt()
        return self.parts.map(session)

    def ground(self, request: gr.Request) -> Iterator[Changes]:
        """Judge the answers that have no badge yet, in the queue of the model. A new question comes first: what it
        interrupts is judged after its answer."""
        session = self.sessions.of(request.session_hash)
        waiting = [own for own in session.exchanges if own.state == "done" and own.answer and not own.judged]
        for exchange in waiting:
            try:
                self._judge(session, exchange)
            except Stopped:
                break
            except VlmDemoError:
                exchange.judged = True  # a model that records nothing, or another one than the one that answered
            except Exception as error:
                exchange.judged = True
                log_unexpected(error)
        yield {**self.parts.said(session), **self.parts.map(session)} if waiting else {self.parts.heatmap: gr.skip()}

    def _judge(self, session: Session, exchange: ChatTurn) -> None:
        def unwanted() -> bool:
            return session.running or exchange not in session.exchanges

        with self.service.pipeline(unwanted) as pipe:
            exchange.grounding = pipe.grounding(whole(pipe, session, exchange), cancelled=unwanted)
        exchange.judged = True


def maps_of(
    pipe: Pipeline, session: Session, exchange: ChatTurn, index: int, name: str, cancelled: Callable[[], bool]
) -> Iterator[np.ndarray]:
    """One word's map over each picture, in the size in which the page shows it.

    Raises:
        VlmDemoError: another model is in service than the one that answered.
        Stopped: ``cancelled()`` turned True.
    """
    answer = whole(pipe, session, exchange)
    for number, view in enumerate(exchange.answer.views):
        heat = pipe.heatmap(answer, answer.words[index], image=number, method=name, cancelled=cancelled)
        yield np.asarray(Image.fromarray(heat).resize(view.size, Image.Resampling.BOX))


def whole(pipe: Pipeline, session: Session, exchange: ChatTurn) -> Answer:
    """The answer with its pictures as they were uploaded: shrunk for the page, they could be cut in another way.

    Raises:
        VlmDemoError: another model is in service than the one that answered.
    """
    if pipe.name != exchange.answer.model:
        raise VlmDemoError(
            f"{exchange.answer.model} wrote this answer, and {pipe.name} is in service now: ask again first."
        )
    own, history = session.context(exchange)
    sources: list[Any] = [*(picture for turn in history for picture in turn.images), *own]
    return replace(exchange.answer, views=tuple(pipe.view(source) for source in sources))
