"""Desk: what a page has laid out to be compared. Knows neither HTML nor the model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vlm_demo.ui.tabs.compare.comparison import MOST, Comparison

if TYPE_CHECKING:
    from vlm_demo.ui.chat_turn import ChatTurn
    from vlm_demo.ui.tabs.chat.page_choice import Upload

MIX, PICTURES = "mix", "pictures"  # presets for which more pictures than those of the question may lie here


@dataclass(frozen=True)
class Side:
    """One column of an own mix.

    Attributes:
        model, quantize: what answers; empty = what is in service, of another model the full precision.
        shows: the picture it is about: 0 = those of the question, then one of `Desk.more`, from 1.
    """

    model: str = ""
    quantize: str = ""
    ocr: bool = False
    evidence_only: bool = False
    shows: int = 0


@dataclass(eq=False)
class Desk:
    """What a page has laid out to be compared.

    Attributes:
        preset: what varies.
        pictures: of this tab alone, which are asked about together; empty = those of the chat.
        more: further pictures, for comparing pictures.
        sides: the columns of an own mix; empty until one is begun.
        filled: the question that was taken from the chat and not changed since.
        problem: a sentence, until the next press.
    """

    preset: str = "ocr"
    pictures: tuple[Upload, ...] = ()
    more: tuple[Upload, ...] = ()
    sides: list[Side] = field(default_factory=list)
    filled: str = ""
    problem: str = ""
    comparison: Comparison | None = None

    @property
    def running(self) -> bool:
        return self.comparison is not None and self.comparison.running

    @property
    def gathers(self) -> bool:
        """Whether a picture that is added lies beside the others; else it takes their place."""
        return self.preset in (MIX, PICTURES)

    def begin_mix(self, ocr: bool, evidence_only: bool, ocr_missing: bool) -> None:
        """Two columns that differ in one thing: the first asks as the chat did."""
        if not self.sides:
            first = Side(ocr=ocr, evidence_only=evidence_only)
            other = replace(first, evidence_only=not evidence_only) if ocr_missing else replace(first, ocr=not ocr)
            self.sides = [first, other]

    def add_side(self) -> None:
        """One column more, like the last one; nothing where there are as many as can be compared."""
        if self.sides and len(self.sides) < MOST:
            self.sides.append(self.sides[-1])

    def drop_side(self, number: int) -> None:
        """One column less; two stay."""
        if len(self.sides) > 2 and 0 <= number < len(self.sides):
            del self.sides[number]

    def take(self, uploads: list[Upload], there: bool) -> str:
        """Pictures are added.

        Args:
            there: whether the question is about a picture already.
        Returns:
            A sentence where there is no room for all of them.
        """
        if not (self.gathers and there):
            first, rest = (uploads[:1], uploads[1:]) if self.gathers else (uploads, [])
            self.pictures, self.more, uploads = tuple(first), (), rest
        room = MOST - 1 - len(self.more)
        self.more = (*self.more, *uploads[:room])
        return f"{MOST} pictures can be compared at a time: take one off first." if len(uploads) > room else ""

    def remove(self, number: int) -> None:
        """One of ``more`` is taken off; columns that were about it are about the question's own pictures again."""
        if not 0 <= number < len(self.more):
            return
        self.more = self.more[:number] + self.more[number + 1 :]
        gone = number + 1
        moved = {gone: 0, **{shows: shows - 1 for shows in range(gone + 1, MOST)}}
        self.sides = [replace(side, shows=moved.get(side.shows, side.shows)) for side in self.sides]

    def turn_to(self, number: int, upload: Upload) -> None:
        """Another page or frame of one of the tab's own pictures, ``more`` counted after ``pictures``."""
        own = [*self.pictures, *self.more]
        own[number] = upload
        self.pictures, self.more = tuple(own[: len(self.pictures)]), tuple(own[len(self.pictures) :])

    def follow(self, turns: list[ChatTurn]) -> None:
        """The conversation is cleared: so is what was compared, and with which pictures."""
        if turns:
            return
        if self.comparison:
            self.comparison.end()
        self.pictures, self.more, self.comparison = (), (), None
        self.sides = [replace(side, shows=0) for side in self.sides]
