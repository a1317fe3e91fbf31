"""Check events: what is measured of an answer once it is done, and what a press on a remedy does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import gradio as gr

from vlm_demo.checks import checklist
from vlm_demo.contracts.checks import TURN_ON_EVIDENCE_ONLY, TURN_ON_OCR
from vlm_demo.contracts.grounding import GREEN
from vlm_demo.engines import live_checks
from vlm_demo.engines.registry import UNEXPECTED, ModelRegistry, log_unexpected
from vlm_demo.errors import Stopped, VlmDemoError
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.page_components import Changes, PageComponents
from vlm_demo.ui.session import Session
from vlm_demo.ui.sessions import Sessions, session_locked
from vlm_demo.ui.tabs.inspect.deferred_maps import with_uploads
from vlm_demo.ui.tabs.inspect.inspect_events import crowded, forgotten
from vlm_demo.ui.work import measure

if TYPE_CHECKING:
    from vlm_demo.contracts import Grounding, OcrSettings


class CheckEvents:
    """The handlers of the checklist, for all visitors of the page."""

    def __init__(
        self, sessions: Sessions, parts: PageComponents, service: ModelRegistry, ocr_settings: OcrSettings
    ) -> None:
        self.sessions, self.parts, self.service, self.ocr_settings = sessions, parts, service, ocr_settings

    def finish(self, request: gr.Request) -> Iterator[Changes]:
        """Complete the checklists that need the pictures' text (OCR). A new question comes first."""
        session = self.sessions.of(request.session_hash)
        waiting = [turn for turn in session.exchanges if turn.state == "done" and turn.answer and not turn.checked]
        measure(waiting, "checked", lambda exchange: self._read(session, exchange))
        yield self._shown(session) if waiting else {self.parts.checks: gr.skip()}

    def _read(self, session: Session, exchange: ChatTurn) -> None:
        unwanted = partial(session.unwanted, exchange)
        settings = session.with_languages(self.ocr_settings)
        with self.service.engine(unwanted) as engine:
            answer = with_uploads(engine, session, exchange)
        # OCR runs without the model, which may be switched meanwhile.
        checks = live_checks.of_pictures(engine, answer, _badge(exchange), settings, unwanted)
        # Keep what a press has measured meanwhile.
        now = zip(exchange.answer.checks, answer.checks, checks, strict=True)
        merged = tuple(read if current == before else current for current, before, read in now)
        exchange.answer = replace(exchange.answer, checks=merged)

    @session_locked
    def ask_blank(self, request: gr.Request) -> Changes:
        """Ask the shown answer's question about a blank picture: leave it for ``blank``."""
        session = self.sessions.of(request.session_hash)
        if session.shown is None:
            return self.parts.refused(forgotten())
        session.shown.blank = session.shown.blank or "waiting"
        return self.parts.answer_tabs(session)

    def blank(self, request: gr.Request) -> Iterator[Changes]:
        """Ask the question that waits in this session about a blank picture, in the model's queue."""
        session = self.sessions.of(request.session_hash)
        with session.lock:
            exchange = next((turn for turn in session.exchanges if turn.blank == "waiting"), None)
            if exchange is not None:
                exchange.blank = "running"
        if exchange is None:  # a new question may have come first, and the page says still that this one is asked
            yield self.parts.answer_tabs(session)
            return
        unwanted, changes = partial(session.unwanted, exchange), self.parts.answer_tabs
        refused: Changes = {}
        try:
            with self.service.engine(unwanted) as engine:
                found = live_checks.about_blank(engine, with_uploads(engine, session, exchange), unwanted)
            check = live_checks.of_hallucination(exchange.answer, _badge(exchange), found)
            exchange.answer = replace(exchange.answer, checks=checklist.replaced(exchange.answer.checks, check))
            changes = self._shown
        except Stopped:
            pass
        except VlmDemoError as error:
            refused = self.parts.refused(error)
        except Exception as error:
            log_unexpected(error)
            refused = self.parts.refused(VlmDemoError(UNEXPECTED))
        finally:
            exchange.blank = ""
        yield {**changes(session), **refused}

    @session_locked
    def remedy(self, event: gr.EventData, request: gr.Request) -> Changes:
        """One press: ask the question again with OCR, or with the evidence-only rule; both answers stay."""
        session = self.sessions.of(request.session_hash)
        session.returned = None
        wanted = getattr(event, "remedy", None) or {}
        turn = wanted.get("turn")
        exchange = session.shown if turn is None else None
        if turn is not None and 0 <= int(turn) < len(session.exchanges):
            exchange = session.exchanges[int(turn)]
        if exchange is None or exchange not in session.exchanges:
            return self.parts.refused(forgotten())
        ocr = exchange.ocr or wanted.get("press") == TURN_ON_OCR
        evidence_only = exchange.evidence_only or wanted.get("press") == TURN_ON_EVIDENCE_ONLY
        if self.sessions.full:
            return self.parts.refused(crowded())
        source, index = exchange, session.exchanges.index(exchange)
        if session.with_pictures(index) != session.with_pictures(len(session.exchanges) - 1):
            source = session.exchanges[session.with_pictures(index)]  # there are newer pictures than the question's
        attachments = source.pictures, source.names, source.previews
        self.sessions.add(session, ChatTurn(exchange.question, ocr, evidence_only, *attachments, pages=source.pages))
        return {**self.parts.chat_area(session), self.parts.ocr: ocr, self.parts.evidence_only: evidence_only}

    def _shown(self, session: Session) -> Changes:
        return {**self.parts.conversation(session), **self.parts.answer_tabs(session)}


def _badge(exchange: ChatTurn) -> Grounding | None:
    """The badge; None where it would claim that the answer is grounded though the picture is out of distribution."""
    found = exchange.grounding
    return None if found and exchange.outside and found.level in GREEN else found
