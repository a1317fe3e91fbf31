"""Inspector events: the handlers for presses in the inspector and on words. They change how an answer is shown."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import gradio as gr

from vlm_demo.contracts.heatmap_methods import BY_NAME
from vlm_demo.errors import BadQuestion, VlmDemoError
from vlm_demo.images.overlay import COLORMAPS
from vlm_demo.ui import pictures
from vlm_demo.ui.components.page_components import Changes, PageComponents
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.session import Session
from vlm_demo.ui.sessions import Sessions, session_locked
from vlm_demo.ui.tabs.inspect.panels.heads_panel import blocks
from vlm_demo.ui.tabs.inspect.panels.heatmap_panel import shown_map

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer

ABSENT = object()


class InspectorEvents:
    """The handlers of the inspector, for all visitors of the page."""

    def __init__(self, sessions: Sessions, parts: PageComponents):
        self.sessions, self.parts = sessions, parts

    @session_locked
    def press(self, event: gr.EventData, request: gr.Request) -> Changes:
        """A word of an answer: show its map over the picture, and the inspector's tabs of that answer."""
        session = self.sessions.of(request.session_hash)
        turn, word = int(event.turn), int(event.word)
        exchange = session.exchanges[turn] if 0 <= turn < len(session.exchanges) else None
        if not exchange or not exchange.answer or not 0 <= word < len(exchange.answer.words):
            return self.parts.refused(forgotten())
        if session.overtaken("word", value_of(event, "sent")):
            return self.parts.map(session)
        other = exchange is not session.shown
        session.show(exchange, word)
        return {**self.parts.map(session), **(self.parts.answer_tabs(session) if other else {})}

    @session_locked
    def step(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Select the previous or next word of the shown answer."""
        session = self.sessions.of(request.session_hash)
        if session.shown and session.shown.answer.words:
            last = len(session.shown.answer.words) - 1
            session.word = min(max(session.word + int(event.by), 0), last)
        return self.parts.map(session)

    @session_locked
    def look(self, event: gr.EventData, request: gr.Request) -> Changes:
        """How the map is drawn: opacity (percent) and patch grid, or one of them."""
        session = self.sessions.of(request.session_hash)
        options = session.map_options
        if (opacity := newest(session, event, "opacity")) is not ABSENT:
            options.opacity = min(max(float(opacity), 0), 100) / 100
        if (grid := newest(session, event, "grid")) is not ABSENT:
            options.grid = bool(grid)
        return self.parts.map(session)

    @session_locked
    def choose(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Select or deselect a head, a patch, a picture or a block of heads; or choose colours or a method. What does
        not exist changes nothing."""
        session = self.sessions.of(request.session_hash)
        options, answer = session.map_options, session.shown.answer if session.shown else None
        if (colormap := newest(session, event, "colormap")) in COLORMAPS:
            options.colormap = colormap
        if (name := newest(session, event, "method")) in ("", *BY_NAME):
            options.method, options.head = name or None, None
        if answer is None or answer.trace is None:
            return self.parts.map(session)
        shape = answer.trace.image.shape[1:3]
        if (head := newest(session, event, "head")) is not ABSENT:
            there = head is not None and all(0 <= int(at) < length for at, length in zip(head, shape, strict=True))
            chosen = (int(head[0]), int(head[1])) if there else None
            options.head = None if chosen == options.head else chosen
        if (picture := newest(session, event, "picture")) is not ABSENT and 0 <= int(picture) < len(answer.views):
            options.picture = int(picture)
        if (block := newest(session, event, "block")) is not ABSENT and 0 <= int(block) < len(blocks(*shape)):
            options.block = int(block)
        if newest(session, event, "patch") is None:
            options.patch = None
        return self.parts.map(session)

    @session_locked
    def patch(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Select the patch at a place of a picture, in fractions of its width and height, or ``move`` patches from the
        selected one. The same place again deselects it."""
        session = self.sessions.of(request.session_hash)
        answer, number = session.shown.answer if session.shown else None, int(event.picture)
        if answer is None or not 0 <= number < len(answer.views):
            return self.parts.refused(forgotten())
        before = session.map_options.patch
        found = self._patch_at(session, answer, number, event)
        again = value_of(event, "move") is ABSENT and (number, found) == before
        session.map_options.patch = None if found is None or again else (number, found)
        return self.parts.map(session)

    @staticmethod
    def _patch_at(session: Session, answer: Answer, number: int, event: gr.EventData) -> int | None:
        view, before = answer.views[number], session.map_options.patch
        at, move = value_of(event, "at"), value_of(event, "move")
        if at is not ABSENT and at:
            return view_patch(view, float(at[0]) * view.size[0], float(at[1]) * view.size[1])
        if before is None or before[0] != number:
            heat = shown_map(session, number)
            if heat is None:
                return 0
            y, x = divmod(int(heat.argmax()), heat.shape[1])
            return view_patch(view, x, y)
        if move is ABSENT or not move:
            return before[1]
        rows, columns = view.grid
        row, column = divmod(before[1], columns)
        return min(max(row + int(move[1]), 0), rows - 1) * columns + min(max(column + int(move[0]), 0), columns - 1)

    @session_locked
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
            uri = pictures.file_uri("application/octet-stream", pictures.npy(heat))
        else:
            uri = pictures.file_uri("image/png", pictures.png(pictures.overlay(heat, view, session.map_options)))
        word = re.sub(r"\W+", "-", answer.words[session.word].text).strip("-")[:40] or "word"
        which = f"-{number + 1}" if len(answer.views) > 1 else ""
        name = f"heatmap-{word}{which}.{'npy' if event.kind == 'npy' else 'png'}"
        # Two presses in a row must be two values, or the page would not see the second.
        return {self.parts.download: render("download", name=name, uri=uri, made=time.monotonic_ns())}

    @session_locked
    def redraw(self, request: gr.Request) -> Changes:
        """A reply came later than a newer one: draw the shown answer as it is now."""
        session = self.sessions.of(request.session_hash)
        return {**self.parts.map(session), **self.parts.answer_tabs(session)}

    @session_locked
    def show_map(self, request: gr.Request) -> Changes:
        """Show a new answer's first map."""
        return self.parts.map(self.sessions.of(request.session_hash))


def value_of(event: gr.EventData, name: str) -> Any:
    """The value of ``name`` in an event's data; ``ABSENT`` where it has none."""
    return getattr(event, name, ABSENT)


def newest(session: Session, event: gr.EventData, name: str) -> Any:
    """As `value_of`; ``ABSENT`` too where a newer value of that name has come before."""
    value = value_of(event, name)
    return ABSENT if value is ABSENT or session.overtaken(name, value_of(event, "sent")) else value


def view_patch(view: Any, x: float, y: float) -> int | None:
    """The index of the patch at a place of the picture, the smallest where several overlap; None where there is
    none."""
    x0, y0, x1, y1 = view.boxes.T
    there = ((x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)).nonzero()[0]
    areas = (x1 - x0) * (y1 - y0)
    return int(there[areas[there].argmin()]) if len(there) else None


def crowded() -> BadQuestion:
    """The error where ``Sessions.full``."""
    return BadQuestion("Too many questions wait already: ask again in a moment.")


def forgotten() -> VlmDemoError:
    """The error where the server was restarted, or has closed the page's session."""
    return VlmDemoError("The server no longer has this conversation: clear it and ask again.")
