"""Compare events: the handlers for choosing columns, asking, and selecting words. Renders nothing: the panels do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import VlmDemoError
from vlm_demo.ui.session import Session
from vlm_demo.ui.sessions import session_locked
from vlm_demo.ui.tabs.chat import page_choice
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.chat.page_choice import Upload
from vlm_demo.ui.tabs.compare import compare_panel, compare_start
from vlm_demo.ui.tabs.compare.compare_state import MIX, PICTURES, CompareState
from vlm_demo.ui.tabs.compare.compare_work import CompareWork
from vlm_demo.ui.tabs.compare.comparison import Comparison
from vlm_demo.ui.tabs.compare.mix import Mix
from vlm_demo.ui.tabs.compare.presets import NAMES, NEEDS_OTHERS, NO_SECOND, ONLY_OPERATOR, BaseQuestion, Presets
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


class CompareEvents(TabEvents[CompareParts, CompareState]):
    """The handlers of the tab, for all visitors."""

    def __init__(self, events: Events, service: ModelRegistry, parts: CompareParts) -> None:
        super().__init__(events, service, parts, CompareState)
        self.presets = Presets(service, events.ocr_settings)
        self.mix = Mix(service, self.presets.ocr_missing)
        self.work = CompareWork(service, events.ocr_settings)
        self.examples = events.parts.examples

    # -- laying out -----------------------------------------------------------------------------------------------

    @session_locked
    def shown(self, question: str | None, request: gr.Request) -> Changes:
        """The tab is opened: picture and question are the chat's, unless others were chosen here. A page that was
        reloaded has no table yet. On a page that opens with this tab the question is None."""
        session = self.sessions.of(request.session_hash)
        state = self.state(session)
        last = session.last.question if session.last else ""
        changes = {**self._head(session, request), **self._table(session)}
        if (question or "").strip() in ("", state.filled) and (question or "") != last:
            state.filled = last
            changes[self.parts.question] = last
        return changes

    @session_locked
    def choose(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Choose what varies, the chat's picture, a picture's page, or a setting of a column of a custom mix. What does
        not exist changes nothing."""
        session = self.sessions.of(request.session_hash)
        state, of = self.state(session), getattr(event, "of", None)
        state.problem = ""
        if (preset := str(getattr(event, "preset", ""))) in NAMES:
            state.preset = preset
            if preset == MIX:
                last = session.last
                chat_settings = bool(last and last.ocr), bool(last and last.evidence_only)
                state.begin_mix(*chat_settings, ocr_missing=bool(self.presets.ocr_missing))
        if getattr(event, "picture", "") == "chat":
            state.pictures = ()
        if getattr(event, "side", "") == "add":
            state.add_side()
        if isinstance(of, int):
            self._chosen_of(state, of, event, self.operator(request))
        return self._head(session, request)

    def _chosen_of(self, state: CompareState, of: int, event: gr.EventData, operator: bool) -> None:
        """A press on a column of a custom mix, or on a picture of this tab."""
        if getattr(event, "side", "") == "drop":
            state.drop_side(of)
        elif getattr(event, "picture", "") == "off":
            state.remove(of)
        elif (page := getattr(event, "page", None)) is not None:
            uploads = (*state.pictures, *state.more)
            if 0 <= of < len(uploads) and str(page).isdigit():
                try:
                    state.set_page(of, page_choice.at_page(uploads[of], int(page)))
                except VlmDemoError as error:
                    state.problem = str(error)
        elif 0 <= of < len(state.sides):
            state.sides[of] = self.mix.changed(state.sides[of], event, 1 + len(state.more), operator)

    @session_locked
    def uploaded(self, paths: list[str] | str | None, request: gr.Request) -> Changes:
        """Pictures for this tab alone: they replace the chat's, or, where pictures are compared, are added to it."""
        session = self.sessions.of(request.session_hash)
        state, paths = self.state(session), [paths] if isinstance(paths, str) else list(paths or ())
        found, problem = page_choice.opened(paths, 1)
        self.sessions.discard(paths)
        state.problem = str(problem) if problem else ""
        if found:
            full = state.add_pictures(found, bool(compare_start.uploads_of(session, state)))
            state.problem = state.problem or full
        return {**self._head(session, request), **self._table(session)}

    @session_locked
    def example(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Take an example's picture and question, with nothing compared yet."""
        session = self.sessions.of(request.session_hash)
        state, chosen = self.state(session), self.examples[int(event.index)]
        state.drop_comparison()
        state.pictures = (Upload(chosen.name, chosen.picture, None, chosen.preview),)
        return {self.parts.question: chosen.question, **self._head(session, request), **self._table(session)}

    def _head(self, session: Session, request: gr.Request) -> Changes:
        """The head of the tab."""
        state, operator = self.state(session), self.operator(request)
        uploads = compare_start.uploads_of(session, state)
        count = len(state.sides) if state.preset == MIX else self._count(state, uploads)
        parts = self.parts
        return {
            parts.start: compare_start.draw(state, uploads, self.presets.closed(operator), self.mix, operator),
            parts.another: gr.update(
                label="Add a picture" if state.collects_pictures or not uploads else "Another picture"
            ),
            parts.ask: gr.update(value=f"Ask {compare_start.COUNTS[count]}", interactive=not state.running),
        }

    def _count(self, state: CompareState, uploads: tuple[Any, ...]) -> int:
        return self.presets.count(state.preset, len(uploads) + len(state.more))

    # -- asking ---------------------------------------------------------------------------------------------------

    @session_locked
    def ask(self, question: str | None, request: gr.Request) -> Changes:
        """Check the chosen columns, and leave them for ``compare``. Who may load other models is checked here, not only
        in the page."""
        session = self.sessions.of(request.session_hash)
        state, question = self.state(session), (question or "").strip()
        if state.running:
            return {self.parts.live: gr.skip()}
        uploads = compare_start.uploads_of(session, state)
        state.problem = self._refusal(state, question, uploads, self.operator(request))
        if not state.problem:
            last = session.last
            base = BaseQuestion(question, uploads, bool(last and last.ocr), bool(last and last.evidence_only))
            if state.preset == MIX:
                columns = self.mix.columns(state.sides, base, state.more)
            else:
                columns = self.presets.columns(state.preset, base, state.more)
            state.comparison = Comparison(question, columns)
        return {**self._head(session, request), **self._table(session)}

    def _refusal(self, state: CompareState, question: str, uploads: tuple[Any, ...], operator: bool) -> str:
        """Why the comparison can't be run; empty where it can."""
        if state.preset in NEEDS_OTHERS and not operator:
            return ONLY_OPERATOR
        if not uploads:
            return compare_start.NO_PICTURE
        if not question:
            return NO_QUESTION
        if state.preset == PICTURES and len(uploads) + len(state.more) < 2:
            return NO_SECOND
        if state.preset == MIX:
            return self.mix.refusal(state.sides, operator)
        return self.presets.closed(operator).get(state.preset, "")

    def compare(self, request: gr.Request) -> Iterator[Changes]:
        """Answer the columns that wait in this session, one after another; each is shown as soon as it is done."""
        session = self.sessions.of(request.session_hash)
        comparison = self.state(session).comparison
        if comparison is None or comparison.started:
            yield {self.parts.live: gr.skip()}
            return
        for ahead in self.work.run(session, comparison):
            if ahead is None:
                yield self._table(session)
            else:
                yield {self.parts.live: compare_start.live(comparison, ahead)}
        yield {**self._table(session), self.parts.ask: gr.update(interactive=True)}

    # -- looking --------------------------------------------------------------------------------------------------

    @session_locked
    def look(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Select a word of an answer: all columns show their heatmaps of it."""
        session = self.sessions.of(request.session_hash)
        comparison, word = self.state(session).comparison, getattr(event, "word", None)
        overtaken = session.overtaken("compare word", getattr(event, "sent", None))
        if comparison and not overtaken and isinstance(word, list) and len(word) == 2:
            comparison.look(int(word[0]), int(word[1]))
        return self._table(session)

    @session_locked
    def step(self, event: gr.EventData, request: gr.Request) -> Changes:
        """Select the previous or next word of the same answer."""
        session = self.sessions.of(request.session_hash)
        if comparison := self.state(session).comparison:
            column, index = comparison.word
            comparison.look(column, index + (1 if int(event.by) > 0 else -1))
        return self._table(session)

    @session_locked
    def redraw(self, request: gr.Request) -> Changes:
        """A reply came later than a newer one: draw the table as it is now."""
        return self._table(self.sessions.of(request.session_hash))

    @session_locked
    def halt(self, request: gr.Request) -> Changes:
        """Unqueued, so that it is handled while something is being computed."""
        session = self.sessions.of(request.session_hash)
        if comparison := self.state(session).comparison:
            comparison.stop.set()
            if not comparison.started:
                comparison.end()
        return {self.parts.live: compare_start.live(comparison)}

    def _table(self, session: Session) -> Changes:
        """The table, and the progress."""
        state = self.state(session)
        comparison = state.comparison
        with session.lock:
            examples = () if compare_start.uploads_of(session, state) else self.examples
            return {
                self.parts.table: compare_panel.draw(comparison, session.map_options, examples),
                self.parts.live: compare_start.live(comparison),
            }
