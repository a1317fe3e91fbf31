"""Compare state: a page's choices for a comparison. Knows neither HTML nor the model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vlm_demo.ui.tabs.compare.comparison import MOST, Comparison

if TYPE_CHECKING:
    from vlm_demo.ui.chat_turn import ChatTurn
    from vlm_demo.ui.tabs.chat.page_choice import Upload

MIX, PICTURES = "mix", "pictures"  # presets that take more pictures than those of the question


@dataclass(frozen=True)
class Side:
    """One column of a custom mix.

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
class CompareState:
    """A page's choices for a comparison.

    Attributes:
        preset: what varies.
        pictures: of this tab alone, which are asked about together; empty = those of the chat.
        more: further pictures, for comparing pictures.
        sides: the columns of a custom mix; empty until one is begun.
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
    def collects_pictures(self) -> bool:
        """Whether a new picture is added to the others; else it replaces them."""
        return self.preset in (MIX, PICTURES)

    def begin_mix(self, ocr: bool, evidence_only: bool, ocr_missing: bool) -> None:
        """Start with two columns that differ in one setting: the first has the chat's."""
        if not self.sides:
            first = Side(ocr=ocr, evidence_only=evidence_only)
            other = replace(first, evidence_only=not evidence_only) if ocr_missing else replace(first, ocr=not ocr)
            self.sides = [first, other]

    def add_side(self) -> None:
        """Add a copy of the last column; nothing where there are as many as can be compared."""
        if self.sides and len(self.sides) < MOST:
            self.sides.append(self.sides[-1])

    def drop_side(self, number: int) -> None:
        """Remove a column; at least two stay."""
        if len(self.sides) > 2 and 0 <= number < len(self.sides):
            del self.sides[number]

    def add_pictures(self, uploads: list[Upload], has_picture: bool) -> str:
        """Add pictures.

        Args:
            has_picture: whether the question is about a picture already.
        Returns:
            A sentence where not all of them fit.
        """
        if not (self.collects_pictures and has_picture):
            first, rest = (uploads[:1], uploads[1:]) if self.collects_pictures else (uploads, [])
            self.pictures, self.more, uploads = tuple(first), (), rest
        room = MOST - 1 - len(self.more)
        self.more = (*self.more, *uploads[:room])
        return f"{MOST} pictures can be compared at a time: take one off first." if len(uploads) > room else ""

    def remove(self, number: int) -> None:
        """Remove one of ``more``; columns that were about it are about the question's pictures again."""
        if not 0 <= number < len(self.more):
            return
        self.more = self.more[:number] + self.more[number + 1 :]
        removed = number + 1
        moved = {removed: 0, **{shows: shows - 1 for shows in range(removed + 1, MOST)}}
        self.sides = [replace(side, shows=moved.get(side.shows, side.shows)) for side in self.sides]

    def set_page(self, number: int, upload: Upload) -> None:
        """Set another page or frame of one of the tab's pictures, ``more`` counted after ``pictures``."""
        uploads = [*self.pictures, *self.more]
        uploads[number] = upload
        self.pictures, self.more = tuple(uploads[: len(self.pictures)]), tuple(uploads[len(self.pictures) :])

    def drop_comparison(self) -> None:
        """Remove the comparison; what still waits or runs is stopped."""
        if self.comparison:
            self.comparison.end()
        self.comparison = None

    def conversation_changed(self, turns: list[ChatTurn]) -> None:
        """Where the conversation is cleared, drop the comparison and its pictures."""
        if turns:
            return
        self.drop_comparison()
        self.pictures, self.more = (), ()
        self.sides = [replace(side, shows=0) for side in self.sides]
