"""OCR: the text that was read in an upload, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OcrWord:
    """One word that Tesseract read. ``box`` is x0, y0, x1, y1; ``confidence`` is 0..100."""

    text: str
    box: tuple[int, int, int, int]
    confidence: float


@dataclass(frozen=True)
class OcrResult:
    """The text of one upload in reading order (lines split by newlines) and its words."""

    text: str
    words: tuple[OcrWord, ...]
    seconds: float


@dataclass(frozen=True)
class ReadWord:
    """A word that OCR read. ``image`` says in which of ``Answer.views``; ``word.box`` is in that upload's pixels."""

    image: int
    word: OcrWord
