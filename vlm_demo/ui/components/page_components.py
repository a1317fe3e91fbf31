"""Parts: a session and the service → the components of the page that changed, with their new values.

The one place that knows which component shows what; decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from vlm_demo.engines.registry import UNEXPECTED, ModelRegistry, log_unexpected
from vlm_demo.ui.components import header, model_menu
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.chat import transcript
from vlm_demo.ui.tabs.inspect import panels
from vlm_demo.ui.tabs.inspect.panels.html_pieces import nothing, problem

Changes = dict[Any, Any]


@dataclass(eq=False)
class PageComponents:
    """The components of the page that events change. ``examples`` is no component: it fills an empty conversation."""

    chips: gr.HTML
    notice: gr.HTML
    chat: gr.HTML
    live: gr.HTML
    status: gr.HTML
    ocr: gr.Checkbox
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

    def talk(self, session: Session, **composer: Any) -> Changes:
        """The conversation, with no complaint above the composer, and Stop only while something runs."""
        with session.lock:
            mode = {"submit_btn": not session.running, "stop_btn": session.running}
            return {
                self.chat: transcript.conversation(session, self.examples),
                self.live: transcript.live(session),
                self.status: "",
                self.composer: gr.update(**mode, **composer),
            }

    def said(self, session: Session) -> Changes:
        """The conversation alone: what stands above and in the composer stays."""
        with session.lock:
            return {self.chat: transcript.conversation(session, self.examples)}

    def refused(self, error: Exception, **composer: Any) -> Changes:
        """A sentence above the composer; nothing else changes but what the composer holds, if given."""
        changes: Changes = {self.status: problem(str(error))}
        return {**changes, self.composer: gr.update(**composer)} if composer else changes

    def inside(self, session: Session) -> Changes:
        """The tabs that show the answer that is looked at, but for its heatmap."""
        with session.lock:
            shown = session.shown
            return {
                self.sees: panels.model_view_panel.draw(shown),
                self.prompt: panels.prompt_panel.draw(shown),
                self.text: panels.ocr_panel.draw(shown),
                self.stages: panels.stages_panel.draw(shown),
                self.checks: panels.checks_panel.draw(shown),
            }

    def everything(self, session: Session, **composer: Any) -> Changes:
        """All that shows the session."""
        with session.lock:
            return {**self.talk(session, **composer), **self.inside(session), **self.map(session)}

    def map(self, session: Session) -> Changes:
        """The heatmap of the word that is looked at."""
        try:
            with session.lock:
                return {self.heatmap: panels.heatmap_panel.draw(session)}
        except Exception as error:
            log_unexpected(error)
            return {self.heatmap: nothing(UNEXPECTED)}

    def service(self, session: Session, service: ModelRegistry, operator: bool) -> Changes:
        """The chips and the notice line; remembers in the session that this page has seen them."""
        status = session.seen = service.status
        models = model_menu.choices(service.model, service.quantize, status.device, service.served)
        precisions = header.precisions(service.quantize, status, service.measured, model_menu.unquantizable())
        return {
            self.chips: header.chips(status, service.model, service.quantize, models, precisions, operator),
            self.notice: header.notice(status, session.notice, session.alert),
        }
