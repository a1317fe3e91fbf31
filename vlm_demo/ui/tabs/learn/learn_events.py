"""Learn events: the handlers for opening the tab, choosing another picture, and computing losses.

Nothing is computed before the tab is opened, and then once for an answer. All of it waits in a separate queue, so that
Chat goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import gradio as gr
import numpy as np
from PIL import Image

from vlm_demo.contracts.engine import Engine, Request
from vlm_demo.engines.registry import UNEXPECTED, ModelRegistry, log_unexpected
from vlm_demo.errors import Stopped, VlmDemoError
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.page_components import Changes
from vlm_demo.ui.session import Session
from vlm_demo.ui.sessions import Sessions, session_locked
from vlm_demo.ui.tabs.inspect.deferred_maps import with_uploads
from vlm_demo.ui.tabs.inspect.panels.html_pieces import nothing
from vlm_demo.ui.tabs.learn import learn_panels, lens_panel, losses
from vlm_demo.ui.tabs.learn.anatomy_summary import AxesOf, summarized
from vlm_demo.ui.tabs.learn.learn_state import LearnState
from vlm_demo.ui.tabs.tab_events import TabParts

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer, Scores
    from vlm_demo.images.open import Source

CONTRASTS, MATCHES = "clip", "blip2"  # the models that compute ITC and ITM
HALF = 0.5  # in-distribution scores below this count as out of distribution
LONGEST = 500  # characters of a text that is compared


@dataclass(eq=False)
class LearnComponents(TabParts):
    """The components of the tab."""

    stage_boxes: gr.HTML
    lens: gr.HTML
    features: gr.HTML
    losses: gr.HTML
    notes: gr.HTML


class LearnEvents:
    """The handlers of the tab, for all visitors of the page."""

    def __init__(self, sessions: Sessions, service: ModelRegistry, parts: LearnComponents) -> None:
        self.sessions, self.service, self.parts = sessions, service, parts
        self._states: WeakKeyDictionary[ChatTurn, LearnState] = WeakKeyDictionary()
        self._axes: WeakKeyDictionary[Session, AxesOf] = WeakKeyDictionary()
        # Whose losses wait for their turn, and ``left`` of the page: Gradio drops what waits for one that has gone.
        self._queued: WeakKeyDictionary[Session, tuple[ChatTurn, object]] = WeakKeyDictionary()

    # -- looking ------------------------------------------------------------------------------------------------

    @session_locked
    def open(self, request: gr.Request) -> Changes:
        """The tab is opened: draw what is known of the answer that Chat shows. What failed before is tried again."""
        session = self.sessions.of(request.session_hash)
        if state := self._state(session.shown):
            state.problem = ""
        return self._drawn(session)

    @session_locked
    def choose(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Another of the answer's pictures."""
        session = self.sessions.of(request.session_hash)
        number = getattr(event, "picture", None)
        if session.shown and isinstance(number, int) and 0 <= number < len(session.shown.answer.views):
            session.map_options.picture = number
        return self._drawn(session)

    def work(self, request: gr.Request) -> Iterator[Changes]:
        """Compute the answer's anatomy, if not done yet."""
        session = self.sessions.of(request.session_hash)
        with session.lock:
            exchange, word = session.shown, session.word
        state = self._state(exchange)
        if exchange is None or state is None or state.summary or state.problem:
            yield {self.parts.stage_boxes: gr.skip()}
            return
        state.reading = True
        try:
            with session.lock:
                changes = self._drawn(session)
            yield changes
            self._look_inside(session, exchange, word, state)
        except Stopped:
            pass
        except VlmDemoError as error:
            state.problem = str(error)
        except Exception as error:
            log_unexpected(error)
            state.problem = UNEXPECTED
        finally:
            state.reading = False
        with session.lock:
            changes = self._drawn(session)
            if session.running and not (state.summary or state.problem):  # a new question came first
                changes |= dict.fromkeys((self.parts.lens, self.parts.features), lens_panel.waiting(learn_panels.BUSY))
        yield changes

    def _look_inside(self, session: Session, exchange: ChatTurn, word: int, state: LearnState) -> None:
        unwanted = partial(session.unwanted, exchange)
        with self.service.engine(unwanted) as engine:
            if engine.capabilities.logprobs:
                state.lm = losses.next_word(exchange.answer)
            anatomy = engine.anatomy(with_uploads(engine, session, exchange), cancelled=unwanted)
        heat, seconds = _maps(exchange, word)
        axes = self._axes.setdefault(session, {})
        state.summary = summarized(anatomy, exchange.answer.model, axes, heat, seconds, word)

    # -- losses -------------------------------------------------------------------------------------------------

    @session_locked
    def ask(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Take the text that the losses are computed for, and leave them for ``compute``."""
        session = self.sessions.of(request.session_hash)
        exchange = session.shown
        state = self._state(exchange)
        if exchange is None or state is None or state.doing or self._is_queued(session, exchange):
            return {self.parts.losses: gr.skip()}
        state.text = str(getattr(event, "text", "") or "").strip()[:LONGEST] or exchange.answer.text.strip()
        self._queued[session] = exchange, session.left
        return {self.parts.losses: learn_panels.three_losses(exchange, state, queued=True)}

    def _is_queued(self, session: Session, exchange: ChatTurn) -> bool:
        return self._queued.get(session) == (exchange, session.left)

    def compute(self, request: gr.Request) -> Iterator[Changes]:
        """ITC by one model, ITM by another, and the likelihood of the answer without its picture."""
        session = self.sessions.of(request.session_hash)
        exchange, _ = self._queued.pop(session, (None, None))
        state = self._state(exchange)
        if exchange is None or state is None or state.doing:
            yield {self.parts.losses: gr.skip()}
            return
        state.contrast = state.match = None
        state.refused = {}
        steps = (
            ("ITC", f"{CONTRASTS} compares", partial(self._contrast, session, exchange, state)),
            ("ITM", f"{MATCHES} reads", partial(self._match, session, exchange, state)),
            (
                "LM",
                f"{exchange.answer.model} reads without the picture",
                partial(self._blank, session, exchange, state),
            ),
        )
        try:
            for name, doing, step in steps:
                state.doing = f"{name}: {doing} … the first time its model has to be loaded."
                yield self._losses(session, exchange, state)
                try:
                    step()
                except Stopped:
                    break
                except VlmDemoError as error:
                    state.refused[name] = str(error)
                except Exception as error:
                    log_unexpected(error)
                    state.refused[name] = UNEXPECTED
        finally:
            state.doing = ""
        yield self._losses(session, exchange, state)

    def _contrast(self, session: Session, exchange: ChatTurn, state: LearnState) -> None:
        texts = (state.text, *losses.others(state.text))
        state.contrast = losses.contrast(*self._scores(CONTRASTS, session, exchange, texts))

    def _match(self, session: Session, exchange: ChatTurn, state: LearnState) -> None:
        scores, outside = self._scores(MATCHES, session, exchange, (state.text,))
        state.match = losses.match(scores, outside)
        if state.match is None:
            state.refused["ITM"] = f"{scores.model} has no head that reads picture and text together."

    def _scores(self, model: str, session: Session, exchange: ChatTurn, texts: tuple[str, ...]) -> tuple[Scores, bool]:
        """The texts' scores for the picture, and whether it is out of distribution for the model."""
        picture = _sources(session, exchange)[session.map_options.picture]
        removed = partial(_removed, session, exchange)
        with self._engine(model, removed) as engine:
            scores = engine.score(picture, texts, cancelled=removed, visitor=session.visitor)
            known = engine.in_distribution(scores.view)
        return scores, known is not None and known < HALF

    def _engine(self, model: str, cancelled: Any) -> AbstractContextManager[Engine]:
        """The shared engine where it has the model, else a side engine."""
        if self.service.ready and (self.service.model, self.service.quantize) == (model, "none"):
            return self.service.engine(cancelled)
        return self.service.side_engines.engine(model, cancelled=cancelled)

    def _blank(self, session: Session, exchange: ChatTurn, state: LearnState) -> None:
        unwanted = partial(session.unwanted, exchange)
        if state.lm is None:
            return
        with self.service.engine(unwanted) as engine:
            answer = with_uploads(engine, session, exchange)
            if not engine.capabilities.explains:
                return
            blank = replace(_blank_request(session, exchange, answer), cancelled=unwanted)
            replayed = engine.explain(blank, exchange.answer.text)
        state.lm = losses.next_word(exchange.answer, [token.probability for token in replayed.tokens])

    def _losses(self, session: Session, exchange: ChatTurn, state: LearnState) -> Changes:
        """An answer's losses; nothing where another answer is shown by now."""
        if session.shown is not exchange:
            return {self.parts.losses: gr.skip()}
        return {self.parts.losses: learn_panels.three_losses(exchange, state)}

    # -- drawing ------------------------------------------------------------------------------------------------

    def _state(self, exchange: ChatTurn | None) -> LearnState | None:
        if exchange is None or exchange.answer is None:
            return None
        return self._states.setdefault(exchange, LearnState())

    def _drawn(self, session: Session) -> Changes:
        exchange, parts = session.shown, self.parts
        state = self._state(exchange)
        if exchange is None or state is None:
            html = lens_panel.waiting(learn_panels.BUSY) if session.running else nothing(learn_panels.EMPTY, "Chat")
            return {parts.stage_boxes: html, **{part: "" for part in parts.all()[1:]}}
        word, number = session.word, session.map_options.picture
        return {
            parts.stage_boxes: learn_panels.stage_boxes(exchange, state, number),
            parts.lens: lens_panel.lens(exchange, state, word),
            parts.features: learn_panels.features(exchange, state, word, number),
            parts.losses: learn_panels.three_losses(exchange, state, self._is_queued(session, exchange)),
            parts.notes: learn_panels.notes(exchange, state, number),
        }


def _sources(session: Session, exchange: ChatTurn) -> list[Source]:
    """The answer's pictures, those of the history first."""
    uploads, history = session.context(exchange)
    images: list[Any] = [*(picture for turn in history for picture in turn.images), *uploads]
    return images


def _removed(session: Session, exchange: ChatTurn) -> bool:
    return exchange not in session.exchanges


def _maps(exchange: ChatTurn, word: int) -> tuple[tuple[np.ndarray, ...], float]:
    """The map of a word over each picture, and the seconds that the first took; empty where no attention was
    recorded."""
    answer = exchange.answer
    if answer.trace is None or not answer.words:
        return (), 0.0
    began = time.perf_counter()
    first = answer.heatmap(answer.words[word])
    seconds = time.perf_counter() - began
    return (first, *(answer.heatmap(answer.words[word], image=i) for i in range(1, len(answer.views)))), seconds


def _blank_request(session: Session, exchange: ChatTurn, answer: Answer) -> Request:
    """The question about blank pictures, each of its picture's mean colour."""
    _, history = session.context(exchange)
    plain = [view.image.resize((1, 1), Image.Resampling.BOX).resize(view.size) for view in answer.views]
    turns = []
    for turn in history:
        turns.append(replace(turn, images=tuple(plain[: len(turn.images)])))
        plain = plain[len(turn.images) :]
    return Request(
        tuple(plain),
        exchange.question,
        evidence_only=exchange.evidence_only,
        history=tuple(turns),
        visitor=session.visitor,
    )
