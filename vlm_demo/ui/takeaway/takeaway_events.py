"""Saving: a press under the conversation → a file that the browser saves; made in memory only."""

from __future__ import annotations

import time

import gradio as gr

from vlm_demo.errors import BadQuestion
from vlm_demo.ui import pictures
from vlm_demo.ui.components.page_components import Changes, PageComponents
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.sessions import Sessions, session_locked
from vlm_demo.ui.takeaway import conversation_files
from vlm_demo.ui.takeaway.saved_turn import saved


class TakeawayEvents:
    """The handlers that save a conversation, for all visitors of the page; each gets only their own."""

    def __init__(self, sessions: Sessions, parts: PageComponents) -> None:
        self.sessions, self.parts = sessions, parts

    @session_locked
    def export(self, event: gr.EventData, request: gr.Request) -> Changes:
        """The finished turns as HTML, or as JSON where ``kind`` says so."""
        session = self.sessions.of(request.session_hash)
        turns = [saved(turn) for turn in session.exchanges if not turn.running]
        if not turns:
            return self.parts.refused(BadQuestion("There is nothing to save yet: ask a question first."))
        if event.kind == "json":
            name, uri = "conversation.json", pictures.file_uri("application/json", conversation_files.as_json(turns))
        else:
            name, uri = "conversation.html", pictures.file_uri("text/html", conversation_files.as_html(turns))
        # Two presses in a row must be two values, or the page would not see the second.
        return {self.parts.download: render("download", name=name, uri=uri, made=time.monotonic_ns())}
