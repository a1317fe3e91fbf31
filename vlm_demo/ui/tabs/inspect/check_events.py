"""Check events: what is measured of an answer after it is there, and what a press on a remedy does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import gradio as gr

from vlm_demo.checks import checklist, hallucination
from vlm_demo.contracts.checks import TURN_ON_EVIDENCE_ONLY, TURN_ON_OCR
from vlm_demo.contracts.grounding import GREEN
from vlm_demo.engines import live_checks
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import Stopped, VlmDemoError
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.page_components import Changes, PageComponents
from vlm_demo.ui.session import Session, Sessions
from vlm_demo.ui.tabs.inspect.deferred_maps import whole
from vlm_demo.ui.tabs.inspect.inspect_events import forgotten

if TYPE_CHECKING:
    from vlm_demo.contracts import Grounding, OcrSettings


class CheckEvents:
    """The handlers of the checklist, for all visitors of the page."""

    def __init__(
        self, sessions: Sessions, parts: PageComponents, service: ModelRegistry, ocr_settings: OcrSettings
    ) -> None:
        self.sessions, self.parts, self.service, self.ocr_settings = sessions, parts, service, ocr_settings

    def finish(self, request: gr.Request) -> Iterator[Changes]:
        """Read the pictures of the answers whose checklist is not complete. A new question comes first."""
        session = self.sessions.of(request.session_hash)
        waiting = [own for own in session.exchanges if own.state == "done" and own.answer and not own.checked]
        session.measure(waiting, "checked", lambda exchange: self._read(session, exchange))
        yield self._shown(session) if waiting else {self.parts.checks: gr.skip()}

    def _read(self, session: Session, exchange: ChatTurn) -> None:
        unwanted = partial(session.unwanted, exchange)
        settings = session.reading(self.ocr_settings)
        with self.service.engine(unwanted) as engine:
            answer = whole(engine, session, exchange)
        # Text is read without the model, which may be exchanged meanwhile.
        checks = live_checks.of_pictures(engine, answer, _badge(exchange), settings, unwanted)
        # What a press has measured meanwhile stays.
        now = zip(exchange.answer.checks, answer.checks, checks, strict=True)
        merged = tuple(read if current == before else current for current, before, read in now)
        exchange.answer = replace(exchange.answer, checks=merged)

    def blank(self, request: gr.Request) -> Iterator[Changes]:
        """Ask the question of the answer that is looked at about a blank picture, in the queue of the model."""
        session = self.sessions.of(request.session_hash)
        exchange = session.shown
        if exchange is None:
            yield self.parts.refused(forgotten())
            return

        unwanted = partial(session.unwanted, exchange)
        try:
            with self.service.engine(unwanted) as engine:
                found = live_checks.about_blank(engine, whole(engine, session, exchange), unwanted)
        except VlmDemoError as error:
            yield {} if isinstance(error, Stopped) else self.parts.refused(error)
            return
        told = hallucination.check(exchange.evidence_only, exchange.said, _badge(exchange), found)
        exchange.answer = replace(exchange.answer, checks=checklist.replaced(exchange.answer.checks, told))
        yield self._shown(session)

    def remedy(self, event: gr.EventData, request: gr.Request) -> Changes:
        """One press: the question is asked again with OCR, or with the evidence-only rule; both answers stay."""
        session = self.sessions.of(request.session_hash)
        wanted = getattr(event, "remedy", None) or {}
        turn = wanted.get("turn")
        exchange = session.shown if turn is None else None
        if turn is not None and 0 <= int(turn) < len(session.exchanges):
            exchange = session.exchanges[int(turn)]
        if exchange is None or exchange not in session.exchanges:
            return self.parts.refused(forgotten())
        ocr = exchange.ocr or wanted.get("press") == TURN_ON_OCR
        evidence_only = exchange.evidence_only or wanted.get("press") == TURN_ON_EVIDENCE_ONLY
        own = exchange.pictures, exchange.names, exchange.previews
        session.add(ChatTurn(exchange.question, ocr, evidence_only, *own, pages=exchange.pages))
        return {**self.parts.talk(session), self.parts.ocr: ocr, self.parts.evidence_only: evidence_only}

    def _shown(self, session: Session) -> Changes:
        return {**self.parts.said(session), **self.parts.inside(session)}


def _badge(exchange: ChatTurn) -> Grounding | None:
    """The badge; None where it must not say that all is well, since the picture lies outside the model's world."""
    found = exchange.grounding
    return None if found and exchange.outside and found.level in GREEN else found
