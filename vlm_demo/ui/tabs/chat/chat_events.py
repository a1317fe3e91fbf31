"""Events: the handlers for asking, stopping and switching. A request of a page → changes of its session.

Holds nothing but the open sessions, and renders nothing: ``parts`` does. The inspector's handlers are in ``inspector``
and ``deferred_maps``.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr

from vlm_demo.contracts import DEFAULT_OCR, OcrSettings
from vlm_demo.contracts.engine import ELSEWHERE, Engine, Request
from vlm_demo.engines.registry import ModelRegistry, is_operator, log_unexpected
from vlm_demo.errors import BadQuestion, VlmDemoError
from vlm_demo.ui import uploads
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components import header, model_menu
from vlm_demo.ui.components.page_components import Changes, PageComponents
from vlm_demo.ui.session import Session
from vlm_demo.ui.sessions import Sessions, session_locked
from vlm_demo.ui.tabs.chat import page_choice, reopening, transcript
from vlm_demo.ui.tabs.inspect.check_events import CheckEvents
from vlm_demo.ui.tabs.inspect.deferred_maps import DeferredMaps
from vlm_demo.ui.tabs.inspect.inspect_events import InspectorEvents, crowded, forgotten
from vlm_demo.ui.takeaway.takeaway_events import TakeawayEvents
from vlm_demo.ui.work import capture_failure, frames

FRAME = 0.04  # seconds between two drawings of a streaming answer
FOLLOW = 0.3  # likewise, for a page that came back during the stream


class Events:
    """The handlers of the page, for all its visitors."""

    def __init__(self, service: ModelRegistry, parts: PageComponents, ocr_settings: OcrSettings = DEFAULT_OCR):
        self.service, self.parts, self.ocr_settings = service, parts, ocr_settings
        self.sessions = Sessions(lambda session: service.forget(session.visitor))
        self.inspector = InspectorEvents(self.sessions, parts)
        self.deferred_maps = DeferredMaps(self.sessions, parts, service)
        self.page_choice = page_choice.PageChoice(self.sessions, parts)
        self.takeaway = TakeawayEvents(self.sessions, parts)
        self.checks = CheckEvents(self.sessions, parts, service, ocr_settings)

    # -- asking ---------------------------------------------------------------------------------------------------

    @session_locked
    def ask(self, message: dict, ocr: bool, evidence_only: bool, request: gr.Request) -> Changes:
        """Take a question from the composer: check it, show it, and leave it for ``answer``."""
        session = self._asking(request)
        text, files = message.get("text") or "", message.get("files") or []
        self.sessions.claim(session, files)
        if (saved := reopening.saved_in(files)) is not None:
            return self._reopen(session, saved, text)
        opened, problem = page_choice.opened(files, session.page)
        if problem:
            return self.parts.refused(problem, value={"text": text, "files": [upload.path for upload in opened]})
        if not opened and session.with_pictures(len(session.exchanges) - 1) < 0:
            return self.parts.refused(
                BadQuestion("There is no picture yet: drop, paste or upload one, or press an example.")
            )
        if not text.strip():
            return self.parts.refused(
                BadQuestion("The question is empty: type what you want to know about the picture.")
            )
        if self.sessions.full:
            return self.parts.refused(crowded())
        contents, previews = tuple(upload.content for upload in opened), tuple(upload.preview for upload in opened)
        names, pages = tuple(Path(upload.path).name for upload in opened), tuple(upload.page for upload in opened)
        self.sessions.add(session, ChatTurn(text.strip(), ocr, evidence_only, contents, names, previews, pages=pages))
        session.page = 1
        self.sessions.release(session)
        return self.parts.chat_area(session, value={"text": "", "files": []})

    def _asking(self, request: gr.Request) -> Session:
        """The page's session; what Undo put into its composer may have been changed there since."""
        session = self.sessions.of(request.session_hash)
        session.returned = None
        return session

    def _reopen(self, session: Session, saved: bytes, text: str) -> Changes:
        """Replace this conversation by a saved one, whose answers the model in service replays."""
        try:
            turns = reopening.turns_of(saved)
        except VlmDemoError as error:
            return self.parts.refused(error, value={"text": text, "files": []})
        session.cut(0)
        for turn in turns:
            self.sessions.add(session, turn, alone=turn is turns[0])
        self.sessions.release(session)
        return self.parts.everything(session, value={"text": text, "files": []})

    @session_locked
    def ask_example(self, event: gr.EventData, request: gr.Request) -> Changes:
        """One press: ask the example's question about its picture, with the example's toggles."""
        session = self._asking(request)
        if self.sessions.full:
            return self.parts.refused(crowded())
        example = self.parts.examples[int(event.index)]
        attachments = (example.picture,), (example.name,), (example.preview,)
        self.sessions.add(session, ChatTurn(example.question, example.ocr, example.evidence_only, *attachments))
        toggles = {self.parts.ocr: example.ocr, self.parts.evidence_only: example.evidence_only}
        return {**self.parts.chat_area(session), **toggles}

    @session_locked
    def ask_edited(self, event: gr.EventData, ocr: bool, evidence_only: bool, request: gr.Request) -> Changes:
        """An edited earlier question: it is asked again, and all that followed is dropped."""
        session = self._asking(request)
        index, text = int(event.turn), str(event.text).strip()
        if index >= len(session.exchanges):
            return self.parts.refused(forgotten())
        if not text:
            return self.parts.refused(BadQuestion("The edited question is empty: type what you want to know."))
        return self._ask_again(session, index, text, ocr, evidence_only)

    @session_locked
    def retry(self, ocr: bool, evidence_only: bool, request: gr.Request) -> Changes:
        """The last question once more, with the toggles as they are now."""
        session = self._asking(request)
        if not session.last:
            return self.parts.refused(BadQuestion("There is nothing to retry yet: ask a question first."))
        return self._ask_again(session, len(session.exchanges) - 1, session.last.question, ocr, evidence_only)

    def _ask_again(self, session: Session, index: int, question: str, ocr: bool, evidence_only: bool) -> Changes:
        if self.sessions.full:
            return self.parts.refused(crowded())
        old = session.cut(index, replaced=True)[0]
        self.sessions.add(
            session, ChatTurn(question, ocr, evidence_only, old.pictures, old.names, old.previews, pages=old.pages)
        )
        session.tell_tabs()
        return self.parts.everything(session)

    @session_locked
    def settle(self, request: gr.Request) -> Changes:
        """After the reply to a question or to Stop has arrived: later ones (Clear, Undo, the answer's end) may have
        come before it, which makes it outdated. An error about the question stays."""
        session = self.sessions.of(request.session_hash)
        if session.running:
            return {self.parts.live: gr.skip()}
        changes = self.parts.everything(session, **({"value": session.returned} if session.returned else {}))
        return {part: change for part, change in changes.items() if part is not self.parts.status}

    # -- answering ------------------------------------------------------------------------------------------------

    def answer(self, request: gr.Request) -> Iterator[Changes]:
        """Compute the answer that waits in this session, drawing each stage and word as it comes; where a conversation
        was reopened, replay all of its answers."""
        session = self.sessions.of(request.session_hash)
        with session.answering:  # a question continues from the answer before it
            exchange = session.waiting
            if exchange is None:
                yield {self.parts.live: gr.skip()}
            while exchange is not None:
                yield from self._answer(session, exchange)
                following = session.waiting
                exchange = following if following and following.given is not None else None

    def _answer(self, session: Session, exchange: ChatTurn) -> Iterator[Changes]:
        try:
            with capture_failure(exchange):
                for _ in frames(self._compute(session, exchange), FRAME):
                    yield {self.parts.live: transcript.live(session)}
        finally:
            if exchange.running:  # the page was closed, or Gradio closed this generator
                exchange.stop.set()
                exchange.state, exchange.lost = "stopped", True
            if exchange not in session.exchanges:  # what was computed after the conversation had ended
                self.service.forget(session.visitor)
        with session.lock:
            if exchange.answer and exchange in session.exchanges:
                session.show(exchange, transcript.first_content_word(exchange.answer))
            changes = {**self.parts.chat_area(session), **self.parts.answer_tabs(session)}
        yield changes

    def _compute(self, session: Session, exchange: ChatTurn) -> Generator[None, None, None]:
        """Run the engine for one exchange, yielding after each change of it."""
        images, history = session.context(exchange)
        request = Request(
            tuple(images),
            exchange.question,
            ocr=exchange.ocr,
            evidence_only=exchange.evidence_only,
            history=tuple(history),
            cancelled=exchange.stop.is_set,
            visitor=session.visitor,
            ocr_settings=session.with_languages(self.ocr_settings),
        )
        with self.service.engine(exchange.stop.is_set) as engine:
            exchange.state, exchange.model, exchange.precision = "running", engine.name, engine.precision
            exchange.remote = engine.device == ELSEWHERE
            if exchange.given is not None:
                yield from self._reread(engine, exchange, request)
                return
            yield
            stream: Any = engine.stream(request)
            with closing(stream):
                for event in stream:
                    answer = exchange.receive(event)
                    yield
            assert answer is not None
            self.service.record_pace(answer)
            exchange.outside = model_menu.outside(engine, answer.views)  # of a follow-up's earlier pictures too
            exchange.methods = engine.heatmap_methods(answer)
        exchange.complete(answer)

    def _reread(self, engine: Engine, exchange: ChatTurn, request: Request) -> Generator[None, None, None]:
        """Replay an existing answer by teacher forcing, for its heatmaps and probabilities."""
        assert exchange.given is not None
        exchange.answer_text = exchange.given
        yield
        answer = reopening.read_here(engine, engine.explain(request, exchange.given), exchange.given_by)
        exchange.outside = model_menu.outside(engine, answer.views)
        exchange.methods = engine.heatmap_methods(answer)
        exchange.complete(answer)

    def read_in(self, languages: str, request: gr.Request) -> None:
        """The language of the text in this page's pictures, from the next question on."""
        self.sessions.of(request.session_hash).languages = str(languages)

    # -- stopping and going back ----------------------------------------------------------------------------------

    @session_locked
    def stop(self, request: gr.Request) -> Changes:
        """Unqueued, so that it is handled while the answer is being computed."""
        session = self.sessions.of(request.session_hash)
        session.stop()
        return self.parts.chat_area(session)

    @session_locked
    def undo(self, request: gr.Request) -> Changes:
        """Remove the last exchange: its question and pictures are put back into the composer."""
        session = self.sessions.of(request.session_hash)
        if not session.last:
            return self.parts.refused(BadQuestion("There is nothing to undo yet."))
        (dropped,) = session.cut(len(session.exchanges) - 1)
        files = uploads.put_back(dropped)
        session.page = next((page for page in dropped.pages if page), 1)
        self.sessions.claim(session, files)
        session.returned = {"text": dropped.question, "files": files}
        return self.parts.everything(session, value=session.returned)

    @session_locked
    def clear(self, request: gr.Request) -> Changes:
        """Forget the whole conversation, its pictures and maps."""
        session = self.sessions.of(request.session_hash)
        session.cut(0)
        self.sessions.release(session)
        self.service.forget(session.visitor)
        return self.parts.everything(session, value={"text": "", "files": []})

    # -- the service, and pages that come and go ------------------------------------------------------------------

    def switch(self, event: gr.EventData, request: gr.Request) -> Iterator[Changes]:
        """Load another model or precision for everyone, drawing the progress. Checked here, not only in the page."""
        session, operator = self.sessions.of(request.session_hash), self._operator(request)
        session.notify("" if operator else header.ONLY_OPERATOR)
        if operator:
            chosen = {"model": self.service.model, "quantize": self.service.quantize, str(event.name): str(event.value)}
            problems: list[str] = []
            arguments = (chosen["model"], chosen["quantize"], problems)
            worker = threading.Thread(target=self._switch, args=arguments, daemon=True)
            worker.start()
            while worker.is_alive():
                worker.join(0.25)
                yield self.parts.service(session, self.service, operator)
            session.notify(" ".join(problems))
        yield self.parts.service(session, self.service, operator)

    def _switch(self, model: str, quantize: str, problems: list[str]) -> None:
        stays = f" {self.service.model} stays in service." if self.service.ready else ""
        try:
            self.service.switch(model, quantize)
        except VlmDemoError as error:
            problems.append(f"{error}{stays}")
        except Exception as error:
            log_unexpected(error)
            problems.append(f"{model} ({quantize}) could not be loaded.{stays}")

    @session_locked
    def tick(self, message: dict | None, request: gr.Request) -> Changes:
        """On uploads, and by a timer: claim the composer's files for this page, and show the service's status and the
        place in its queue."""
        session = self.sessions.of(request.session_hash)
        if message and message.get("files"):
            self.sessions.claim(session, message["files"])
        return self._queued(session) | self._served(session, self._operator(request)) or {self.parts.chips: gr.skip()}

    def _queued(self, session: Session) -> Changes:
        """The place in the queue, where it differs from what is drawn."""
        waiting = next((exchange for exchange in session.exchanges if exchange.queued), None)
        ahead = self.sessions.ahead(waiting) if waiting else 0
        if waiting is None or waiting.ahead == ahead:
            return {}
        waiting.ahead = ahead
        return {self.parts.live: transcript.live(session)}

    def _operator(self, request: gr.Request) -> bool:
        host = request.client.host if request.client else None
        return is_operator(host, request.headers, self.service.operator_token)

    def _served(self, session: Session, operator: bool) -> Changes:
        """The model in service, where it differs from what is drawn; a switch is notified."""
        seen, status = session.seen, self.service.status
        if seen and seen.precision and not status.busy and header.served(seen) != header.served(status):
            session.notify(header.SWITCHED.format(header.served(status)), alert=False)
        elif seen == status and not session.drop_old_notice():
            return {}
        return self.parts.service(session, self.service, operator)

    @session_locked
    def typed(self, request: gr.Request) -> Changes:
        """The composer's text or files have changed: an error about its earlier content is outdated."""
        return {self.parts.status: ""}

    def opened(self, request: gr.Request) -> Changes:
        """A page is opened: everything but the service's status is rendered already. Its address may switch the toggles
        on: ``?ocr=1&evidence=1``."""
        session, parameters = self.sessions.of(request.session_hash), request.query_params
        toggles = {
            part: True
            for name, part in (("ocr", self.parts.ocr), ("evidence", self.parts.evidence_only))
            if parameters.get(name) == "1" and getattr(part, "interactive", None) is not False
        }
        return {**self.parts.service(session, self.service, self._operator(request)), **toggles}

    def arrived(self, event: gr.EventData, request: gr.Request) -> Changes:
        """A page reports its browser tab: the conversation that the tab had before a reload is restored, with the
        language in which its pictures are read."""
        session = self.sessions.arrived(request.session_hash, str(event.tab))
        language = {self.parts.language: session.with_languages(self.ocr_settings).languages}
        with session.lock:  # the page that was left may still be opening a question's picture
            return {**self.parts.everything(session), **language} if session.exchanges else language

    def follow(self, request: gr.Request) -> Iterator[Changes]:
        """A page that came back follows an answer that is being generated to its end; `answer` has what still waits."""
        session = self.sessions.of(request.session_hash)
        following = session.running
        while session.running and session.answering.locked() and not session.closed.wait(FOLLOW):
            yield {self.parts.live: transcript.live(session)}
        yield self.parts.everything(session) if following else {self.parts.live: gr.skip()}

    def closed(self, request: gr.Request) -> None:
        """A page is closed: its computations end, its files go, and unless it is back soon, its chat and caches too."""
        self.sessions.close(request.session_hash)
