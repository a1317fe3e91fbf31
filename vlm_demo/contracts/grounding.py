"""Grounding: an answer's badge, and the levels that it can have."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_demo.contracts.ocr import ReadWord

GROUNDED, READ, WEAK, NOT_VISIBLE = "grounded", "read", "weak", "not visible"
NOT_ABOUT = "not about the picture"
LEVELS = {
    GROUNDED: "Rests on the picture",
    READ: "Rests on text read",
    WEAK: "Rests weakly",
    NOT_VISIBLE: "Not visible",
    NOT_ABOUT: "Not about the picture",
}
GREEN = (GROUNDED, READ)


@dataclass(frozen=True)
class Grounding:
    """One answer's badge.

    Attributes:
        level: a key of ``LEVELS``.
        score: 0..1, where the checkpoint is calibrated the probability that the answer is right and visible.
        drop: 0..1, how much of the answer's probability falls away with the looked-at patches; None where nothing was
            tried.
        share: 0..1, the attention on the pictures; None where that can't be told.
        match: 0..1, how well the answer fits the picture; None where the model can't compare.
        sentence: why, for a person.
        text_drop: 0..1, how much falls away with the words that OCR read; None where the answer repeats none.
        quote: the words that OCR read and the answer repeats, once, as they were read; empty likewise.
        words: the same at every place at which they were read, with their boxes; empty likewise.
    """

    level: str
    score: float
    drop: float | None
    share: float | None
    match: float | None
    sentence: str
    text_drop: float | None = None
    quote: str = ""
    words: tuple[ReadWord, ...] = ()
