"""Contrast events: the handlers for changing texts and pictures of the table, and for selecting a pair."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.ui import pictures
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.session import Session
from vlm_demo.ui.sessions import Sessions, session_locked
from vlm_demo.ui.tabs.chat.page_choice import opened
from vlm_demo.ui.tabs.chat.transcript import Example
from vlm_demo.ui.tabs.contrast import map_panel, table_panel
from vlm_demo.ui.tabs.contrast.contrast_table import EXAMPLE, MOST_PICTURES, UPLOADED, ContrastTable, Picture
from vlm_demo.ui.tabs.contrast.contrast_work import MAP, OTHERS, TABLE, ContrastWork

NAME = "contrast"
FEW = 4  # examples that are shown where there are no other pictures
FULL = f"The table holds {MOST_PICTURES} pictures of your own: take one off first."
REDRAW_PAUSE = 0.3  # seconds between two drawings of the small maps

Changes = dict[Any, Any]


class ContrastEvents:
    """The handlers of the tab, for all visitors; ``parts`` are its components by what they show."""

    def __init__(
        self, sessions: Sessions, service: ModelRegistry, parts: dict[str, Any], download: Any, examples: list[Example]
    ) -> None:
        self.sessions, self.parts, self.download = sessions, parts, download
        self.work = ContrastWork(sessions, service)
        distinct = {example.picture: example for example in examples}.values()
        self.examples = tuple(
            Picture.of(example.picture, None, example.preview, EXAMPLE) for example in list(distinct)[:FEW]
        )

    def table_of(self, session: Session) -> ContrastTable:
        """A page's table; a fresh one where it has none."""
        table = session.tabs.get(NAME)
        if not isinstance(table, ContrastTable):
            table = session.tabs[NAME] = ContrastTable(self.examples)
        table.conversation_changed(session.exchanges)
        return table

    def _changed(self, request: gr.Request) -> ContrastTable:
        """A page's table for an event that changes it: what went wrong before no longer counts."""
        table = self.table_of(self.sessions.of(request.session_hash))
        table.problem = ""
        return table

    def _pressed(self, table: ContrastTable, request: gr.Request) -> Changes:
        """All of the tab after a press. What is missing is left for ``compute``; others may come before."""
        self.work.wait(self.sessions.of(request.session_hash), table)
        return self._all(table)

    @session_locked
    def shown(self, request: gr.Request) -> Changes:
        """The tab is opened: the table has the conversation's current pictures."""
        return self._pressed(self._changed(request), request)

    @session_locked
    def reword(self, event: gr.EventData, request: gr.Request) -> Changes:
        """A text was added, edited or emptied."""
        table = self._changed(request)
        number = getattr(event, "text", None)
        table.reword(None if number is None else int(number), str(event.words))
        return self._pressed(table, request)

    @session_locked
    def remove(self, event: gr.EventData, request: gr.Request) -> Changes:
        """A picture is removed from the table."""
        table = self._changed(request)
        table.remove_picture(str(event.picture))
        return self._pressed(table, request)

    @session_locked
    def pick(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Select a pair, or a picture or a text alone."""
        table = self._changed(request)
        picture, text = getattr(event, "picture", None), getattr(event, "text", None)
        if picture is not None:
            table.picture = str(picture)
        if text is not None:
            table.text = int(text)
        return self._pressed(table, request)

    @session_locked
    def choose(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Choose another model for ITC or for ITM."""
        table = self._changed(request)
        for name in ("model", "judge"):
            value = str(getattr(event, name, ""))
            if value in self.work.models() or (value == "none" and name == "judge"):
                setattr(table, name, "" if value == "none" else value)
        return self._pressed(table, request)

    @session_locked
    def upload(self, files: list[str] | str | None, request: gr.Request) -> Changes:
        """Pictures are added: read, and their files deleted."""
        session = self.sessions.of(request.session_hash)
        table = self.table_of(session)
        paths = [files] if isinstance(files, str) else list(files or ())
        found, problem = opened(paths, 1)
        self.sessions.discard(paths)
        room = [table.add(Picture.of(file.content, file.page, file.preview, UPLOADED)) for file in found]
        table.problem = str(problem) if problem else "" if all(room) else FULL
        return self._pressed(table, request)

    def compute(self, request: gr.Request) -> Iterator[Changes]:
        """Compute what is missing, in this tab's queue, drawing each result."""
        session = self.sessions.of(request.session_hash)
        with session.lock:
            table = self.table_of(session)
        problem, drawn = table.problem, 0.0
        for part in self.work.run(session, table):
            if part == OTHERS and time.perf_counter() - drawn < REDRAW_PAUSE:
                continue
            drawn = time.perf_counter()
            with session.lock:
                changes = {self.parts[TABLE]: self._draw(TABLE, table)}
                if part in (MAP, OTHERS):
                    changes[self.parts[part]] = self._draw(part, table)
            yield changes
        table.problem = table.problem or problem
        with session.lock:
            changes = self._all(table)
        yield changes

    @session_locked
    def export(self, request: gr.Request) -> Changes:
        """The selected map, over its picture, as a PNG for the browser to save."""
        table = self.table_of(self.sessions.of(request.session_hash))
        image, text = map_panel.overlay(self.work, table)
        if image is None:
            return {self.download: gr.skip()}
        name = f"relevancy-{re.sub(r'[^A-Za-z0-9]+', '-', text).strip('-')[:40] or 'text'}.png"
        uri = pictures.file_uri("image/png", pictures.png(image))
        return {self.download: render("download", name=name, uri=uri, made=time.monotonic_ns())}

    def _all(self, table: ContrastTable) -> Changes:
        return {self.parts[part]: self._draw(part, table) for part in (TABLE, MAP, OTHERS)}

    def _draw(self, part: str, table: ContrastTable) -> Any:
        draw = {TABLE: table_panel.draw, MAP: map_panel.draw, OTHERS: map_panel.others}
        return draw[part](self.work, table)
