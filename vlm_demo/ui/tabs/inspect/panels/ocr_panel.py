"""Text: what Tesseract read, its boxes over the upload and the words beside them."""

from __future__ import annotations

from html import escape

from vlm_demo.contracts import OcrResult, View
from vlm_demo.ui import pictures
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.tabs.inspect.panels.html_pieces import NOTHING, folded, stack


def draw(exchange: ChatTurn | None) -> str:
    """What Tesseract read: its boxes over the upload, and the words beside them."""
    if not exchange or not exchange.answer:
        return NOTHING.format("With “Read text (OCR)” on, the text found in the picture stands here.")
    if not exchange.ocr:
        return NOTHING.format("“Read text (OCR)” was off for this answer: the model was given the question alone.")
    answer = exchange.answer
    # Text is read in the question's own pictures, which come after those of earlier turns.
    first = len(answer.views) - len(answer.ocrs)
    return "".join(
        _read(answer.views[first + i], exchange.sizes[first + i], result, i) for i, result in enumerate(answer.ocrs)
    )


def _read(view: View, size: tuple[int, int], result: OcrResult, number: int) -> str:
    boxes, words = [], []
    for i, word in enumerate(result.words):
        x0, y0, x1, y1 = word.box
        boxes.append(f'<rect data-box="{number}-{i}" x="{x0}" y="{y0}" width="{x1 - x0}" height="{y1 - y0}"/>')
        confidence = f"confidence {word.confidence:.0f}%"
        words.append(f'<span tabindex="0" data-box="{number}-{i}" title="{confidence}">{escape(word.text)}</span>')
    count = len(result.words)
    told = (
        f"{count} word{'s' * (count != 1)} read in {result.seconds:.2f} s" if count else "No text found in this picture"
    )
    picture = f'<img src="{pictures.data_uri(view.image)}" alt="Picture {number + 1} and the boxes of its words">'
    listed = (
        f'<p class="read">{" ".join(words)}</p>{folded("The text as given to the model", result.text)}' if count else ""
    )
    return f'<figure class="ocr">{stack(picture, *size, "".join(boxes))}<p class="muted">{told}</p>{listed}</figure>'
