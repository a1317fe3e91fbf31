"""Text: what OCR read, its boxes over the upload and the words next to them, those that the answer quotes marked."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from vlm_demo.contracts import OcrResult, OcrWord
from vlm_demo.ui import pictures
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.inspect.panels.html_pieces import nothing
from vlm_demo.words import OCR_CUT


@dataclass(frozen=True)
class ReadPicture:
    """A picture whose text was read.

    Attributes:
        source: the picture as a data URI.
        width, height: of the upload, in whose pixels the words' boxes are.
        result: the words.
        summary: how many there are, in words.
        quoted: those that the answer quotes, at every place at which they were read.
    """

    source: str
    width: int
    height: int
    result: OcrResult
    summary: str
    quoted: frozenset[OcrWord]


def draw(exchange: ChatTurn | None) -> Markup:
    """What OCR read: its boxes over the upload, and the words next to them."""
    if not exchange or not exchange.answer:
        return nothing("With “Read text (OCR)” on, the text found in the picture stands here.")
    if not exchange.ocr:
        return nothing("“Read text (OCR)” was off for this answer: the model was given the question alone.")
    answer = exchange.answer
    # OCR reads the question's pictures, which come after those of earlier turns.
    first = len(answer.views) - len(answer.ocrs)
    read = [
        ReadPicture(
            pictures.data_uri(answer.views[first + i].image),
            *exchange.sizes[first + i],
            result,
            _summary(result),
            _quoted(exchange, first + i),
        )
        for i, result in enumerate(answer.ocrs)
    ]
    return render("ocr", pictures=read)


def _quoted(exchange: ChatTurn, image: int) -> frozenset[OcrWord]:
    found = exchange.grounding.words if exchange.grounding else ()
    return frozenset(read.word for read in found if read.image == image)


def _summary(result: OcrResult) -> str:
    count = len(result.words) + result.left_out
    if not count:
        return f"No text found in this picture. {result.note}" if result.note else "No text found in this picture"
    how = "read for an earlier question" if result.cached else f"read in {result.seconds:.2f} s"
    counted = f"{count} word{'s' * (count != 1)} {how}"
    notes = [OCR_CUT.format(result.left_out, count)] if result.left_out else []
    notes += [result.note] if result.note else []
    return f"{counted}. {' '.join(notes)}" if notes else counted
