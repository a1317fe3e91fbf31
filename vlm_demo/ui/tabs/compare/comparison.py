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
        label: what is special about it.
        turn: the question as it is asked there, and what became of it.
        model, quantize: what answers; empty = whatever all pages share.
        visitor: for whom the engine remembers what it computes. Each column is somebody else, so that none is faster
            for what another has computed.
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
        """Of its answer, so far as there is one."""
        return tuple(word.text for word in self.turn.answer.words) if self.turn.answer else ()


@dataclass(eq=False)
class Comparison:
    """What was asked, and which word of the answers is looked at: (column, index).

    Attributes:
        stop: set to end the computing.
        started: whether the computing was begun.
        figures: the drawn maps of the word that is looked at, by column and picture.
    """

    question: str
    columns: list[Column]
    word: tuple[int, int] = (0, 0)
    stop: threading.Event = field(default_factory=threading.Event)
    started: bool = False
    figures: dict[tuple[int, int], str] = field(default_factory=dict)

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
        """The word that is looked at, as it stands in a column's answer; None where nothing stands in its place."""
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
        """Look at a word from now on; what there is not changes nothing."""
        if 0 <= column < len(self.columns) and 0 <= index < len(self.columns[column].words):
            self.word = (column, index)
            self.figures.clear()

    def first_look(self) -> None:
        """The reference's first telling word, once its answer is there."""
        if answer := self.reference.turn.answer:
            self.look(0, transcript.first_telling_word(answer))

    def end(self) -> None:
        """What still waits or runs is stopped."""
        self.stop.set()
        for column in self.columns:
            column.turn.stop.set()
            column.loading = False
            if column.turn.running:
                column.turn.state = "stopped"
