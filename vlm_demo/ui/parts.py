"""Parts: a session and the service → the components of the page that changed, with their new values.

The one place that knows which component shows what; decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

import gradio as gr

from vlm_demo.ui import chat, header, inspector, world
from vlm_demo.ui.inspector.pieces import NOTHING
from vlm_demo.ui.service import UNEXPECTED, Service, log_unexpected
from vlm_demo.ui.session import Session

Changes = dict[Any, Any]


@dataclass(eq=False)
class Parts:
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
    download: gr.HTML
    examples: list[chat.Example] = field(default_factory=list)

    def all(self) -> list[Any]:
        """Every component."""
        return [part for name, part in vars(self).items() if name != "examples"]

    def talk(self, session: Session, **composer: Any) -> Changes:
        """The conversation, with no complaint above the composer, and Stop only while something runs."""
        mode = {"submit_btn": not session.running, "stop_btn": session.running}
        return {
            self.chat: chat.conversation(session, self.examples),
            self.live: chat.live(session),
            self.status: "",
            self.composer: gr.update(**mode, **composer),
        }

    def said(self, session: Session) -> Changes:
        """The conversation alone: what stands above and in the composer stays."""
        return {self.chat: chat.conversation(session, self.examples)}

    def refused(self, error: Exception, **composer: Any) -> Changes:
        """A sentence above the composer; nothing else changes but what the composer holds, if given."""
        changes: Changes = {self.status: f'<p class="problem" role="alert">{escape(str(error))}</p>'}
        return {**changes, self.composer: gr.update(**composer)} if composer else changes

    def inside(self, session: Session) -> Changes:
        """The tabs that show the answer that is looked at, but for its heatmap."""
        shown = session.shown
        return {
            self.sees: inspector.sees.draw(shown),
            self.prompt: inspector.prompt.draw(shown),
            self.text: inspector.text.draw(shown),
            self.stages: inspector.stages.draw(shown),
        }

    def everything(self, session: Session, **composer: Any) -> Changes:
        """All that shows the session."""
        return {**self.talk(session, **composer), **self.inside(session), **self.map(session)}

    def map(self, session: Session) -> Changes:
        """The heatmap of the word that is looked at."""
        try:
            return {self.heatmap: inspector.heatmap.draw(session)}
        except Exception as error:
            log_unexpected(error)
            return {self.heatmap: NOTHING.format(UNEXPECTED)}

    def service(self, session: Session, service: Service, operator: bool) -> Changes:
        """The chips and the notice line; remembers in the session that this page has seen them."""
        status = session.seen = service.status
        models = world.choices(service.model, service.quantize, status.device)
        precisions = header.precisions(service.quantize, status, service.measured, world.unquantizable())
        return {
            self.chips: header.chips(status, service.model, service.quantize, models, precisions, operator),
            self.notice: header.notice(status, session.notice),
        }
