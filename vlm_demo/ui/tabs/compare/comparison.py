"""Comparison: one question, asked in several columns. Knows neither HTML nor the model."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field

from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.tabs.chat import transcript
from vlm_demo.ui.tabs.compare.difference import Difference, between

MOST = 4  # columns


@dataclass(eq=False)
class Column:
    """One way of asking.

    Attributes:
        label: its distinguishing setting.
        turn: the question as asked there, and its answer.
        model, quantize: what answers; empty = the shared engine.
        visitor: the key of the engine's caches. Each column has its own, so that none is faster by another's cache.
        loading: whether its model is being waited for.
    """

    label: str
    turn: ChatTurn
    model: str = ""
    quantize: str = ""
    visitor: str = field(default_factory=lambda: secrets.token_hex(8))
    loading: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """Of its answer, if there is one."""
        return tuple(word.text for word in self.turn.answer.words) if self.turn.answer else ()


@dataclass(eq=False)
class Comparison:
    """What was asked, and the selected word of the answers: (column, index).

    Attributes:
        stop: set to end the computation.
        started: whether the computation has started.
        figures: the drawn maps of the selected word, by column and picture.
        drawn_with: the opacity and the colours of ``figures``.
    """

    question: str
    columns: list[Column]
    word: tuple[int, int] = (0, 0)
    stop: threading.Event = field(default_factory=threading.Event)
    started: bool = False
    figures: dict[tuple[int, int], str] = field(default_factory=dict)
    drawn_with: tuple[float, str] | None = None

    @property
    def running(self) -> bool:
        return any(column.turn.running for column in self.columns)

    @property
    def reference(self) -> Column:
        return self.columns[0]

    def difference(self, number: int) -> Difference | None:
        """How a column's answer differs from the reference's; None for the reference, and where either is missing."""
        if not number or not self.reference.turn.answer or not self.columns[number].turn.answer:
            return None
        return between(self.reference.words, self.columns[number].words)

    def word_in(self, number: int) -> int | None:
        """The index of the selected word in a column's answer; None where it has no counterpart."""
        column, found = self.word[0], self._in_reference()
        if number == column:
            found = self.word[1]
        elif number and found is not None:
            difference = self.difference(number)
            found = difference.in_other(found) if difference else None
        return found if found is not None and 0 <= found < len(self.columns[number].words) else None

    def _in_reference(self) -> int | None:
        column, index = self.word
        difference = self.difference(column)
        if column:
            return difference.in_first(index) if difference else None
        return index

    def look(self, column: int, index: int) -> None:
        """Select a word; one that does not exist changes nothing."""
        if 0 <= column < len(self.columns) and 0 <= index < len(self.columns[column].words):
            self.word = (column, index)
            self.figures.clear()

    def draw_with(self, opacity: float, colormap: str) -> None:
        """Choose how maps are drawn; those that were drawn otherwise are dropped."""
        if self.drawn_with != (opacity, colormap):
            self.drawn_with = opacity, colormap
            self.figures.clear()

    def first_look(self) -> None:
        """Select the reference's first content word, once its answer is done."""
        if answer := self.reference.turn.answer:
            self.look(0, transcript.first_content_word(answer))

    def end(self) -> None:
        """Stop what still waits or runs."""
        self.stop.set()
        for column in self.columns:
            column.turn.stop.set()
            column.loading = False
            if column.turn.running:
                column.turn.state = "stopped"
