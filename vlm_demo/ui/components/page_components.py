"""Page components: a session and the service → the components that changed, with their new values.

The one place that knows which component shows what; decides nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from vlm_demo.engines.registry import UNEXPECTED, ModelRegistry, log_unexpected
from vlm_demo.ui.components import header, model_menu
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.chat import transcript
from vlm_demo.ui.tabs.inspect import panels
from vlm_demo.ui.tabs.inspect.panels.html_pieces import nothing

Changes = dict[Any, Any]


@dataclass(eq=False)
class PageComponents:
    """The components of the page that events change. ``examples`` is no component: an empty conversation shows them."""

    chips: gr.HTML
    notice: gr.HTML
    chat: gr.HTML
    live: gr.HTML
    status: gr.HTML
    ocr: gr.Checkbox
    language: gr.Dropdown
    evidence_only: gr.Checkbox
    composer: gr.MultimodalTextbox
    heatmap: gr.HTML
    sees: gr.HTML
    prompt: gr.HTML
    text: gr.HTML
    stages: gr.HTML
    checks: gr.HTML
    download: gr.HTML
    examples: list[transcript.Example] = field(default_factory=list)

    def all(self) -> list[Any]:
        """Every component."""
        return [part for name, part in vars(self).items() if name != "examples"]

    def chat_area(self, session: Session, **composer: Any) -> Changes:
        """The conversation, no error above the composer, and Stop only while something runs."""
        with session.lock:
            mode = {"submit_btn": not session.running, "stop_btn": session.running}
            return {
                self.chat: transcript.conversation(session, self.examples),
                self.live: transcript.live(session),
                self.status: "",
                self.composer: gr.update(**mode, **composer),
            }

    def conversation(self, session: Session) -> Changes:
        """The conversation alone: the composer and the line above it stay."""
        with session.lock:
            return {self.chat: transcript.conversation(session, self.examples)}

    def refused(self, error: Exception, **composer: Any) -> Changes:
        """A sentence above the composer; nothing else changes but the composer's content, if given."""
        # Two in a row must be two values, or the page would not see the second.
        changes: Changes = {self.status: render("refused", sentence=str(error), made=time.monotonic_ns())}
        return {**changes, self.composer: gr.update(**composer)} if composer else changes

    def answer_tabs(self, session: Session) -> Changes:
        """The tabs of the shown answer, except its heatmap."""
        with session.lock:
            shown = session.shown
            return {
                self.sees: panels.model_view_panel.draw(shown),
                self.prompt: panels.prompt_panel.draw(shown),
                **self.read_text(session),
                self.stages: panels.stages_panel.draw(shown),
                self.checks: panels.checks_panel.draw(shown),
            }

    def read_text(self, session: Session) -> Changes:
        """What OCR read for the shown answer."""
        with session.lock:
            return {self.text: panels.ocr_panel.draw(session.shown)}

    def everything(self, session: Session, **composer: Any) -> Changes:
        """All components that show the session."""
        with session.lock:
            return {**self.chat_area(session, **composer), **self.answer_tabs(session), **self.map(session)}

    def map(self, session: Session) -> Changes:
        """The heatmap of the selected word."""
        try:
            with session.lock:
                return {self.heatmap: panels.heatmap_panel.draw(session)}
        except Exception as error:
            log_unexpected(error)
            return {self.heatmap: nothing(UNEXPECTED)}

    def service(self, session: Session, service: ModelRegistry, operator: bool) -> Changes:
        """The chips and the notice line; records in the session that this page has seen them."""
        status = session.seen = service.status
        models = model_menu.choices(service.model, service.quantize, status.device, service.served)
        precisions = header.precisions(service.quantize, status, service.measured, model_menu.unquantizable())
        return {
            self.chips: header.chips(status, service.model, service.quantize, models, precisions, operator),
            self.notice: header.notice(status, session.notice, session.alert),
        }
