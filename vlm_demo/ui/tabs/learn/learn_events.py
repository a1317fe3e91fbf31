"""Learn events: what happens when the tab is opened, another picture is chosen, or losses are asked for.

Nothing is computed before the tab is opened, and then once for an answer. All of it waits in a queue of its own, so
that Chat goes on.
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
from vlm_demo.ui.session import Session, Sessions, alone
from vlm_demo.ui.tabs.inspect.deferred_maps import whole
from vlm_demo.ui.tabs.inspect.panels.html_pieces import nothing
from vlm_demo.ui.tabs.learn import lens_panel, losses, panels
from vlm_demo.ui.tabs.learn.lesson import AxesOf, lesson_of
from vlm_demo.ui.tabs.learn.study import Study
from vlm_demo.ui.tabs.tab_events import TabParts

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer, Scores
    from vlm_demo.images.open import Source

CONTRASTS, MATCHES = "clip", "blip2"  # the models that compute ITC and ITM
HALF = 0.5  # of being like what a model was trained on
LONGEST = 500  # characters of a text that is compared


@dataclass(eq=False)
class LearnComponents(TabParts):
    """The components of the tab."""

    road: gr.HTML
    lens: gr.HTML
    features: gr.HTML
    losses: gr.HTML
    notes: gr.HTML


class LearnEvents:
    """The handlers of the tab, for all visitors of the page."""

    def __init__(self, sessions: Sessions, service: ModelRegistry, parts: LearnComponents) -> None:
        self.sessions, self.service, self.parts = sessions, service, parts
        self._studies: WeakKeyDictionary[ChatTurn, Study] = WeakKeyDictionary()
        self._axes: WeakKeyDictionary[Session, AxesOf] = WeakKeyDictionary()

    # -- looking ------------------------------------------------------------------------------------------------

    @alone
    def open(self, request: gr.Request) -> Changes:
        """The tab is shown: draw what is known of the answer that Chat shows."""
        return self._drawn(self.sessions.of(request.session_hash))

    @alone
    def choose(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Another of the answer's pictures."""
        session = self.sessions.of(request.session_hash)
        number = getattr(event, "picture", None)
        if session.shown and isinstance(number, int) and 0 <= number < len(session.shown.answer.views):
            session.look.picture = number
        return self._drawn(session)

    def work(self, request: gr.Request) -> Iterator[Changes]:
        """Look inside the answer, if that was not done yet."""
        session = self.sessions.of(request.session_hash)
        exchange = session.shown
        study = self._study(exchange)
        if exchange is None or study is None or study.lesson or study.problem:
            yield {self.parts.road: gr.skip()}
            return
        try:
            self._look_inside(session, exchange, study)
        except Stopped:
            with session.lock:
                told = lens_panel.waiting(panels.BUSY)
                yield {self.parts.lens: told, self.parts.features: told} if session.running else self._drawn(session)
            return
        except VlmDemoError as error:
            study.problem = str(error)
        except Exception as error:
            log_unexpected(error)
            study.problem = UNEXPECTED
        with session.lock:
            yield self._drawn(session)

    def _look_inside(self, session: Session, exchange: ChatTurn, study: Study) -> None:
        unwanted = partial(session.unwanted, exchange)
        with self.service.engine(unwanted) as engine:
            if engine.capabilities.logprobs:
                study.lm = losses.next_word(exchange.answer)
            anatomy = engine.anatomy(whole(engine, session, exchange), cancelled=unwanted)
        heat, seconds = _maps(exchange, session.word)
        axes = self._axes.setdefault(session, {})
        study.lesson = lesson_of(anatomy, exchange.answer.model, axes, heat, seconds)

    # -- losses -------------------------------------------------------------------------------------------------

    def compute(self, event: gr.EventData, request: gr.Request) -> Iterator[Changes]:
        """ITC by one model, ITM by another, and how likely the answer is without its picture."""
        session = self.sessions.of(request.session_hash)
        exchange = session.shown
        study = self._study(exchange)
        if exchange is None or study is None or study.doing:
            yield {self.parts.losses: gr.skip()}
            return
        study.text = str(getattr(event, "text", "") or "").strip()[:LONGEST] or exchange.answer.text.strip()
        study.contrast = study.match = None
        study.refused = {}
        steps = (
            ("ITC", f"{CONTRASTS} compares", partial(self._contrast, session, exchange, study)),
            ("ITM", f"{MATCHES} reads", partial(self._match, session, exchange, study)),
            (
                "LM",
                f"{exchange.answer.model} reads without the picture",
                partial(self._blank, session, exchange, study),
            ),
        )
        try:
            for name, doing, step in steps:
                study.doing = f"{name}: {doing} … the first time its model has to be loaded."
                yield {self.parts.losses: panels.three_losses(exchange, study)}
                try:
                    step()
                except Stopped:
                    break
                except VlmDemoError as error:
                    study.refused[name] = str(error)
                except Exception as error:
                    log_unexpected(error)
                    study.refused[name] = UNEXPECTED
        finally:
            study.doing = ""
        if session.shown is exchange:
            yield {self.parts.losses: panels.three_losses(exchange, study)}

    def _contrast(self, session: Session, exchange: ChatTurn, study: Study) -> None:
        texts = (study.text, *losses.others(study.text))
        study.contrast = losses.contrast(*self._scores(CONTRASTS, session, exchange, texts))

    def _match(self, session: Session, exchange: ChatTurn, study: Study) -> None:
        scores, outside = self._scores(MATCHES, session, exchange, (study.text,))
        study.match = losses.match(scores, outside)
        if study.match is None:
            study.refused["ITM"] = f"{scores.model} has no head that reads picture and text together."

    def _scores(self, model: str, session: Session, exchange: ChatTurn, texts: tuple[str, ...]) -> tuple[Scores, bool]:
        """How the texts fit the picture, and whether the model was trained on nothing like it."""
        picture = _sources(session, exchange)[session.look.picture]
        gone = partial(_gone, session, exchange)
        with self._engine(model, gone) as engine:
            scores = engine.score(picture, texts, cancelled=gone, visitor=session.visitor)
            known = engine.in_distribution(scores.view)
        return scores, known is not None and known < HALF

    def _engine(self, model: str, cancelled: Any) -> AbstractContextManager[Engine]:
        """The shared model where it is the one, or one beside it."""
        if self.service.ready and (self.service.model, self.service.quantize) == (model, "none"):
            return self.service.engine(cancelled)
        return self.service.side_engines.engine(model, cancelled=cancelled)

    def _blank(self, session: Session, exchange: ChatTurn, study: Study) -> None:
        unwanted = partial(session.unwanted, exchange)
        if study.lm is None:
            return
        with self.service.engine(unwanted) as engine:
            answer = whole(engine, session, exchange)
            if not engine.capabilities.explains:
                return
            blank = replace(_blank_request(session, exchange, answer), cancelled=unwanted)
            told = engine.explain(blank, exchange.answer.text)
        study.lm = losses.next_word(exchange.answer, [token.probability for token in told.tokens])

    # -- drawing ------------------------------------------------------------------------------------------------

    def _study(self, exchange: ChatTurn | None) -> Study | None:
        if exchange is None or exchange.answer is None:
            return None
        return self._studies.setdefault(exchange, Study())

    def _drawn(self, session: Session) -> Changes:
        exchange, parts = session.shown, self.parts
        study = self._study(exchange)
        if exchange is None or study is None:
            told = lens_panel.waiting(panels.BUSY) if session.running else nothing(panels.EMPTY, "Chat")
            return {parts.road: told, **{part: "" for part in parts.all()[1:]}}
        word, number = session.word, session.look.picture
        return {
            parts.road: panels.road(exchange, study, word, number),
            parts.lens: lens_panel.lens(exchange, study, word),
            parts.features: panels.features(exchange, study, word, number),
            parts.losses: panels.three_losses(exchange, study),
            parts.notes: panels.notes(exchange, study, word, number),
        }


def _sources(session: Session, exchange: ChatTurn) -> list[Source]:
    """The answer's pictures, those of the history first."""
    own, history = session.context(exchange)
    images: list[Any] = [*(picture for turn in history for picture in turn.images), *own]
    return images


def _gone(session: Session, exchange: ChatTurn) -> bool:
    return exchange not in session.exchanges


def _maps(exchange: ChatTurn, word: int) -> tuple[tuple[np.ndarray, ...], float]:
    """The map of a word over each picture, and the seconds that the first took; none where none was recorded."""
    answer = exchange.answer
    if answer.trace is None or not answer.words:
        return (), 0.0
    began = time.perf_counter()
    first = answer.heatmap(answer.words[word])
    seconds = time.perf_counter() - began
    return (first, *(answer.heatmap(answer.words[word], image=i) for i in range(1, len(answer.views)))), seconds


def _blank_request(session: Session, exchange: ChatTurn, answer: Answer) -> Request:
    """The question about pictures of one colour each, the mean of the picture's own."""
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
