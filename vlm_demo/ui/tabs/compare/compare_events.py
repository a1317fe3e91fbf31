"""Compare events: what happens when columns are laid out, asked or looked at. Draws nothing: that is the panels'."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import VlmDemoError
from vlm_demo.ui.session import Session, alone
from vlm_demo.ui.tabs.chat import page_choice
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.chat.page_choice import Upload
from vlm_demo.ui.tabs.compare import compare_panel, compare_start
from vlm_demo.ui.tabs.compare.compare_work import CompareWork
from vlm_demo.ui.tabs.compare.comparison import Comparison
from vlm_demo.ui.tabs.compare.desk import MIX, PICTURES, Desk
from vlm_demo.ui.tabs.compare.mix import Mix
from vlm_demo.ui.tabs.compare.presets import NAMES, NEEDS_OTHERS, NO_SECOND, ONLY_OPERATOR, Asked, Presets
from vlm_demo.ui.tabs.tab_events import TabEvents, TabParts

NO_QUESTION = "The question is empty: type what you want to know about the picture."

Changes = dict[Any, Any]


@dataclass(eq=False)
class CompareParts(TabParts):
    """The components of the tab that events change."""

    start: gr.HTML
    question: gr.Textbox
    another: gr.UploadButton
    ask: gr.Button
    live: gr.HTML
    table: gr.HTML


class CompareEvents(TabEvents[CompareParts, Desk]):
    """The handlers of the tab, for all visitors."""

    def __init__(self, events: Events, service: ModelRegistry, parts: CompareParts) -> None:
        super().__init__(events, service, parts, Desk)
        self.presets = Presets(service, events.ocr_settings)
        self.mix = Mix(service, self.presets.ocr_missing)
        self.work = CompareWork(service, events.ocr_settings)
        self.examples = events.parts.examples

    # -- laying out -----------------------------------------------------------------------------------------------

    @alone
    def shown(self, question: str | None, request: gr.Request) -> Changes:
        """The tab is opened: picture and question are the chat's, as long as nothing else was chosen here. A page that
        opens with this tab has no text yet."""
        session = self.sessions.of(request.session_hash)
        desk = self.desk(session)
        last = session.last.question if session.last else ""
        changes = self._laid(session, request)
        if desk.comparison is None:
            changes |= self._drawn(session)
        if (question or "").strip() in ("", desk.filled) and (question or "") != last:
            desk.filled = last
            changes[self.parts.question] = last
        return changes

    @alone
    def choose(self, event: gr.EventData, request: gr.Request) -> Changes:
        """What varies, the chat's picture again, a picture's page, or something of a column of an own mix. What does
        not exist changes nothing."""
        session = self.sessions.of(request.session_hash)
        desk, of = self.desk(session), getattr(event, "of", None)
        desk.problem = ""
        if (preset := str(getattr(event, "preset", ""))) in NAMES:
            desk.preset = preset
            if preset == MIX:
                last = session.last
                usual = bool(last and last.ocr), bool(last and last.evidence_only)
                desk.begin_mix(*usual, ocr_missing=bool(self.presets.ocr_missing))
        if getattr(event, "picture", "") == "chat":
            desk.pictures = ()
        if getattr(event, "side", "") == "add":
            desk.add_side()
        if isinstance(of, int):
            self._chosen_of(desk, of, event, self.operator(request))
        return self._laid(session, request)

    def _chosen_of(self, desk: Desk, of: int, event: gr.EventData, operator: bool) -> None:
        """A press on a column of an own mix, or on a picture of this tab alone."""
        if getattr(event, "side", "") == "drop":
            desk.drop_side(of)
        elif getattr(event, "picture", "") == "off":
            desk.remove(of)
        elif (page := getattr(event, "page", None)) is not None:
            own = (*desk.pictures, *desk.more)
            if 0 <= of < len(own) and str(page).isdigit():
                try:
                    desk.turn_to(of, page_choice.at_page(own[of], int(page)))
                except VlmDemoError as error:
                    desk.problem = str(error)
        elif 0 <= of < len(desk.sides):
            desk.sides[of] = self.mix.changed(desk.sides[of], event, 1 + len(desk.more), operator)

    @alone
    def uploaded(self, paths: list[str] | str | None, request: gr.Request) -> Changes:
        """Pictures of this tab alone: in place of what was asked about, or, where pictures are compared, beside it."""
        session = self.sessions.of(request.session_hash)
        desk, paths = self.desk(session), [paths] if isinstance(paths, str) else list(paths or ())
        found, problem = page_choice.opened(paths, 1)
        self.sessions.discard(paths)
        desk.problem = str(problem) if problem else ""
        if found:
            full = desk.take(found, bool(compare_start.uploads_of(session, desk)))
            desk.problem = desk.problem or full
        return {**self._laid(session, request), **self._drawn(session)}

    @alone
    def example(self, event: gr.EventData, request: gr.Request) -> Changes:
        """An example's picture and question are laid out."""
        session = self.sessions.of(request.session_hash)
        own = self.examples[int(event.index)]
        self.desk(session).pictures = (Upload(own.name, own.picture, None, own.preview),)
        return {self.parts.question: own.question, **self._laid(session, request), **self._drawn(session)}

    def _laid(self, session: Session, request: gr.Request) -> Changes:
        """The head of the tab."""
        desk, operator = self.desk(session), self.operator(request)
        uploads = compare_start.uploads_of(session, desk)
        count = len(desk.sides) if desk.preset == MIX else self._count(desk, uploads)
        parts = self.parts
        return {
            parts.start: compare_start.draw(desk, uploads, self.presets.closed(operator), self.mix, operator),
            parts.another: gr.update(label="Add a picture" if desk.gathers or not uploads else "Another picture"),
            parts.ask: gr.update(value=f"Ask {compare_start.COUNTS[count]}", interactive=not desk.running),
        }

    def _count(self, desk: Desk, uploads: tuple[Any, ...]) -> int:
        return self.presets.count(desk.preset, len(uploads) + len(desk.more))

    # -- asking ---------------------------------------------------------------------------------------------------

    @alone
    def ask(self, question: str | None, request: gr.Request) -> Changes:
        """Check what was laid out, and leave it for ``compare``. Who may load other models is checked here, not only in
        the page."""
        session = self.sessions.of(request.session_hash)
        desk, question = self.desk(session), (question or "").strip()
        if desk.running:
            return {self.parts.live: gr.skip()}
        uploads = compare_start.uploads_of(session, desk)
        desk.problem = self._refusal(desk, question, uploads, self.operator(request))
        if not desk.problem:
            last = session.last
            asked = Asked(question, uploads, bool(last and last.ocr), bool(last and last.evidence_only))
            if desk.preset == MIX:
                columns = self.mix.columns(desk.sides, asked, desk.more)
            else:
                columns = self.presets.columns(desk.preset, asked, desk.more)
            desk.comparison = Comparison(question, columns)
        return {**self._laid(session, request), **self._drawn(session)}

    def _refusal(self, desk: Desk, question: str, uploads: tuple[Any, ...], operator: bool) -> str:
        """Why it can't be asked so; empty where it can."""
        if desk.preset in NEEDS_OTHERS and not operator:
            return ONLY_OPERATOR
        if not uploads:
            return compare_start.NO_PICTURE
        if not question:
            return NO_QUESTION
        if desk.preset == PICTURES and len(uploads) + len(desk.more) < 2:
            return NO_SECOND
        if desk.preset == MIX:
            return self.mix.refusal(desk.sides, operator)
        return self.presets.closed(operator).get(desk.preset, "")

    def compare(self, request: gr.Request) -> Iterator[Changes]:
        """Answer the columns that wait in this session, one after another; each shows as soon as it is there."""
        session = self.sessions.of(request.session_hash)
        comparison = self.desk(session).comparison
        if comparison is None or comparison.started:
            yield {self.parts.live: gr.skip()}
            return
        for ahead in self.work.run(session, comparison):
            if ahead is None:
                yield self._drawn(session)
            else:
                yield {self.parts.live: compare_start.live(comparison, ahead)}
        yield {**self._drawn(session), self.parts.ask: gr.update(interactive=True)}

    # -- looking --------------------------------------------------------------------------------------------------

    @alone
    def look(self, event: gr.EventData, request: gr.Request) -> Changes:
        """A word of an answer: all columns show where they looked for it."""
        session = self.sessions.of(request.session_hash)
        comparison, word = self.desk(session).comparison, getattr(event, "word", None)
        if comparison and isinstance(word, list) and len(word) == 2:
            comparison.look(int(word[0]), int(word[1]))
        return self._drawn(session)

    @alone
    def step(self, event: gr.EventData, request: gr.Request) -> Changes:
        """The previous or next word of the answer whose word is looked at."""
        session = self.sessions.of(request.session_hash)
        if comparison := self.desk(session).comparison:
            column, index = comparison.word
            comparison.look(column, index + (1 if int(event.by) > 0 else -1))
        return self._drawn(session)

    @alone
    def halt(self, request: gr.Request) -> Changes:
        """Unqueued, so that it is heard while something is being computed."""
        session = self.sessions.of(request.session_hash)
        if comparison := self.desk(session).comparison:
            comparison.stop.set()
            if not comparison.started:
                comparison.end()
        return {self.parts.live: compare_start.live(comparison)}

    def _drawn(self, session: Session) -> Changes:
        """The table, and how it goes."""
        desk = self.desk(session)
        comparison = desk.comparison
        with session.lock:
            examples = () if compare_start.uploads_of(session, desk) else self.examples
            return {
                self.parts.table: compare_panel.draw(comparison, session.look, examples),
                self.parts.live: compare_start.live(comparison),
            }
