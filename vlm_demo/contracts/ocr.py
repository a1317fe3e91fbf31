"""OCR: the text that was read in an upload and where it stands, and the interface of what reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class OcrWord:
    """One word that OCR read. ``box`` is x0, y0, x1, y1; ``confidence`` is 0..100."""

    text: str
    box: tuple[int, int, int, int]
    confidence: float


@dataclass(frozen=True)
class OcrResult:
    """What was read in one upload, or in all of a question's.

    Attributes:
        text: in reading order, lines split by newlines, as it stands in the prompt.
        words: those of ``text``.
        seconds: that reading took; next to none where it was cached.
        left_out: how many more words were read that ``text`` and ``words`` lack, as the model's context can't hold
            them; the lines that stayed have most to do with the question.
        cached: whether it was read for an earlier question.
        note: one sentence on what to do where the text seems to be in letters that the chosen languages lack; else
            empty.
    """

    text: str
    words: tuple[OcrWord, ...]
    seconds: float
    left_out: int = 0
    cached: bool = False
    note: str = ""


@dataclass(frozen=True)
class ReadWord:
    """A word that OCR read. ``image`` says in which of ``Answer.views``; ``word.box`` is in that upload's pixels."""

    image: int
    word: OcrWord


@dataclass(frozen=True)
class OcrSettings:
    """How text is read.

    Attributes:
        languages: what the engine calls them, joined by ``+``; the first counts most.
        engine: a name of ``runtime.ocr_engines.ENGINES``.
        least_confidence: 0..100; words that the engine is less sure of are no text.
    """

    languages: str = "eng"
    engine: str = "tesseract"
    least_confidence: float = 30.0


DEFAULT_OCR = OcrSettings()


class OcrEngine(Protocol):
    """What reads the text of a picture."""

    def installed(self) -> tuple[str, ...]:
        """The languages that can be read here, by the engine's names; empty where that is unknown."""

    def missing(self, languages: str) -> str | None:
        """None if these languages can be read here, else one sentence that says how to get there."""

    def read(self, image: Image.Image, languages: str, cancelled: Callable[[], bool] | None) -> list[list[OcrWord]]:
        """The lines of a picture in reading order, each its words.

        Args:
            image: upright, RGB; boxes are in its pixels.
            languages: as in `OcrSettings`.
            cancelled: asked all the time; when it turns True, this returns at once.
        Raises:
            OcrUnavailable: the engine or a language is missing, or it fails or takes too long; says what to do.
            Stopped: ``cancelled()`` turned True.
        """

    def doubt(
        self,
        image: Image.Image,
        found: list[list[OcrWord]],
        languages: str,
        cancelled: Callable[[], bool] | None,
    ) -> str:
        """One sentence on what to do where ``found``, what was read, is unsure because the text seems to be in letters
        that these languages lack; else empty.

        Raises:
            Stopped: ``cancelled()`` turned True.
        """
