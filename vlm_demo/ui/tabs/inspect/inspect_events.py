"""Looking: what happens when something of the inspector, or a word, is pressed. Changes how an answer is looked at."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import gradio as gr

from vlm_demo.contracts.heatmap_methods import BY_NAME
from vlm_demo.errors import VlmDemoError
from vlm_demo.images.overlay import COLORMAPS
from vlm_demo.ui import pictures
from vlm_demo.ui.components.page_components import Changes, PageComponents
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.session import Session, Sessions, alone
from vlm_demo.ui.tabs.inspect.panels.heads_panel import blocks
from vlm_demo.ui.tabs.inspect.panels.heatmap_panel import shown_map

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer

NOT_TOLD = object()


class InspectorEvents:
    """The handlers of the inspector, for all visitors of the page."""

    def __init__(self, sessions: Sessions, parts: PageComponents):
        self.sessions, self.parts = sessions, parts

    @alone
    def press(self, event: gr.EventData, request: gr.Request) -> Changes:
        """A word of an answer: lay its map over the picture, and show the inside of that answer."""
        session = self.sessions.of(request.session_hash)
        turn, word = int(event.turn), int(event.word)
        exchange = session.exchanges[turn] if 0 <= turn < len(session.exchanges) else None
        if not exchange or not exchange.answer or not 0 <= word < len(exchange.answer.words):
            return self.parts.refused(forgotten())
        other = exchange is not session.shown
        session.show(exchange, word)
        return {**self.parts.map(session), **(self.parts.inside(session) if other else {})}

    @alone
    def step(self, event: gr.EventData, request: gr.Request) -> Changes:
        """The previous or next word of the answer that is looked at."""
        session = self.sessions.of(request.session_hash)
        if session.shown and session.shown.answer.words:
            last = len(session.shown.answer.words) - 1
            session.word = min(max(session.word + int(event.by), 0), last)
        return self.parts.map(session)

    @alone
    def look(self, event: gr.EventData, request: gr.Request) -> Changes:
        """How the map is drawn: opacity (percent) and patch grid."""
        session = self.sessions.of(request.session_hash)
        look = session.look
        look.opacity, look.grid = min(max(float(event.opacity), 0), 100) / 100, bool(event.grid)
        return self.parts.map(session)

    @alone
    def choose(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Something of the answer is singled out, or no longer: a head, a patch, a picture, a part of the heads; or
        colours or a method are chosen. What does not exist changes nothing."""
        session = self.sessions.of(request.session_hash)
        look, answer = session.look, session.shown.answer if session.shown else None
        if (colormap := told(event, "colormap")) in COLORMAPS:
            look.colormap = colormap
        if (name := told(event, "method")) in ("", *BY_NAME):
            look.method, look.head = name or None, None
        if answer is None or answer.trace is None:
            return self.parts.map(session)
        shape = answer.trace.image.shape[1:3]
        if (head := told(event, "head")) is not NOT_TOLD:
            there = head is not None and all(0 <= int(at) < length for at, length in zip(head, shape, strict=True))
            chosen = (int(head[0]), int(head[1])) if there else None
            look.head = None if chosen == look.head else chosen
        if (picture := told(event, "picture")) is not NOT_TOLD and 0 <= int(picture) < len(answer.views):
            look.picture = int(picture)
        if (block := told(event, "block")) is not NOT_TOLD and 0 <= int(block) < len(blocks(*shape)):
            look.block = int(block)
        if told(event, "patch") is None:
            look.patch = None
        return self.parts.map(session)

    @alone
    def patch(self, event: gr.EventData, request: gr.Request) -> Changes:
        """A place of a picture, in fractions of its width and height, or a step of ``move`` patches from the pressed
        one: single out the patch there. The same place again lets it go."""
        session = self.sessions.of(request.session_hash)
        answer, number = session.shown.answer if session.shown else None, int(event.picture)
        if answer is None or not 0 <= number < len(answer.views):
            return self.parts.refused(forgotten())
        before = session.look.patch
        found = self._found(session, answer, number, event)
        again = told(event, "move") is NOT_TOLD and (number, found) == before
        session.look.patch = None if found is None or again else (number, found)
        return self.parts.map(session)

    @staticmethod
    def _found(session: Session, answer: Answer, number: int, event: gr.EventData) -> int | None:
        view, before = answer.views[number], session.look.patch
        at, move = told(event, "at"), told(event, "move")
        if at is not NOT_TOLD and at:
            return view_patch(view, float(at[0]) * view.size[0], float(at[1]) * view.size[1])
        if before is None or before[0] != number:
            heat = shown_map(session, number)
            if heat is None:
                return 0
            y, x = divmod(int(heat.argmax()), heat.shape[1])
            return view_patch(view, x, y)
        if move is NOT_TOLD or not move:
            return before[1]
        rows, columns = view.grid
        row, column = divmod(before[1], columns)
        return min(max(row + int(move[1]), 0), rows - 1) * columns + min(max(column + int(move[0]), 0), columns - 1)

    @alone
    def export(self, event: gr.EventData, request: gr.Request) -> Changes:
        """The shown overlay as a PNG, or its map as an array, for the browser to save; made and kept in memory only."""
        session = self.sessions.of(request.session_hash)
        answer, number = session.shown.answer if session.shown else None, int(event.picture)
        if answer is None or not 0 <= number < len(answer.views):
            return self.parts.refused(forgotten())
        heat, view = shown_map(session, number), answer.views[number]
        if heat is None:
            return self.parts.map(session)
        if event.kind == "npy":
            uri = pictures.held("application/octet-stream", pictures.npy(heat))
        else:
            uri = pictures.held("image/png", pictures.png(pictures.overlay(heat, view, session.look)))
        word = re.sub(r"\W+", "-", answer.words[session.word].text).strip("-")[:40] or "word"
        which = f"-{number + 1}" if len(answer.views) > 1 else ""
        name = f"heatmap-{word}{which}.{'npy' if event.kind == 'npy' else 'png'}"
        # Two presses in a row must be two values, or the page would not hear of the second.
        return {self.parts.download: render("download", name=name, uri=uri, made=time.monotonic_ns())}

    @alone
    def show_map(self, request: gr.Request) -> Changes:
        """The first look at a new answer."""
        return self.parts.map(self.sessions.of(request.session_hash))


def told(event: gr.EventData, name: str) -> Any:
    """What an event says of ``name``; ``NOT_TOLD`` where it says nothing."""
    return getattr(event, name, NOT_TOLD)


def view_patch(view: Any, x: float, y: float) -> int | None:
    """The patch at a place of the picture, the smallest where several overlap; None where the model sees nothing."""
    x0, y0, x1, y1 = view.boxes.T
    there = ((x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)).nonzero()[0]
    areas = (x1 - x0) * (y1 - y0)
    return int(there[areas[there].argmin()]) if len(there) else None


def forgotten() -> VlmDemoError:
    """The server was started anew, or has closed the page's session."""
    return VlmDemoError("The server no longer has this conversation: clear it and ask again.")
