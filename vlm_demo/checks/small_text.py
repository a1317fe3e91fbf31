"""Small text: are the letters in the picture large enough in the pixels that the model sees?

Values: words (that were read surely), upload_height and seen_height (the median height of a word in the upload's pixels
and in the model's), too_small (the fraction of words below what can be read), reads_from (the lowest words, in its own
pixels, that this model was measured to read; "nothing" = none at all; None = not measured), ocr (whether the text
stands in the prompt).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from vlm_demo.checks.resolution import scale_of
from vlm_demo.contracts.checks import FAIL, OPEN, PASS, SMALL_TEXT, TURN_ON_OCR, WARN, Check, Value
from vlm_demo.contracts.geometry import View
from vlm_demo.contracts.ocr import OcrResult

SURE = 60.0  # Tesseract's confidence, 0..100
LEAST_LETTERS = 2
LEGIBLE = 7.0  # pixels: letters of dot matrices are 5 × 7, and lower ones can't be told apart by anyone
MANY = 3  # words: fewer of them are no text that a question is about
MOST, SOME = 0.5, 0.2
NOTHING = "nothing"
CROP = "Crop the picture to the text that you ask about, or start a new chat."
TURN_ON = "Turn on OCR: it reads the upload at its full size."


def check(
    views: Sequence[View],
    read: Sequence[OcrResult | None],
    *,
    ocr: bool,
    reads_from: float | None = None,
    unavailable: str = "",
) -> Check:
    """Measure the words that were read.

    Args:
        views: every picture.
        read: what was read in each; None = not read yet.
        ocr: whether the text was given to the model.
        reads_from: the height in the model's pixels from which it reads; inf = it reads nothing, None = not measured.
        unavailable: why nothing can be read here, as a sentence; empty where it can.
    """
    sized = [height for view, result in zip(views, read, strict=True) if result for height in _heights(view, result)]
    seen = [height for _, height in sized if height is not None]
    lowest = LEGIBLE if reads_from is None else max(LEGIBLE, reads_from)
    share = sum(height < lowest for height in seen) / len(seen) if seen else None
    values: dict[str, Value] = {
        "words": len(sized),
        "upload_height": median(height for height, _ in sized) if sized else None,
        "seen_height": median(seen) if seen else None,
        "too_small": share,
        "reads_from": NOTHING if reads_from == math.inf else reads_from,
        "ocr": ocr,
    }
    if not ocr and (unavailable or any(result is None for result in read)):
        values["words"] = None
        why = "Whether there is small text in the picture was not looked at."
        return Check(SMALL_TEXT, OPEN, values, why, unavailable, "not read")
    left_out = sum(result.left_out for result in read if result) if ocr else 0
    verdict, why, remedy = _judged(len(sized), share, reads_from, ocr)
    if left_out:
        why = f"{left_out} of the words that OCR read did not fit into the prompt, so the model does not know them."
        return Check(SMALL_TEXT, WARN, values, why, CROP, _measured(sized, seen, reads_from))
    press = TURN_ON_OCR if remedy else ""
    return Check(SMALL_TEXT, verdict, values, why, remedy, _measured(sized, seen, reads_from), press)


def _heights(view: View, read: OcrResult) -> list[tuple[float, float | None]]:
    """Of each word read surely its height in the upload and in what the model sees; a word that runs upward is as high
    as its box is wide."""
    scale = scale_of(view)
    found: list[tuple[float, float | None]] = []
    for word in read.words:
        if word.confidence >= SURE and sum(letter.isalnum() for letter in word.text) >= LEAST_LETTERS:
            width, height = word.box[2] - word.box[0], word.box[3] - word.box[1]
            upward = height > width and len(word.text) > LEAST_LETTERS
            side = float(width if upward else height)
            found.append((side, None if scale is None else side * scale[0 if upward else 1]))
    return found


def _judged(words: int, share: float | None, reads_from: float | None, ocr: bool) -> tuple[str, str, str]:
    if not words:
        return PASS, "No text was found in the picture.", ""
    if ocr:
        return PASS, "The text was read by OCR and stands in the prompt.", ""
    if share is None:
        return OPEN, "How large the text is in the model's own pixels is out of sight.", TURN_ON
    if share >= MOST:
        why = "The text is too small for the model to read."
        if reads_from == math.inf:
            why = "This model was measured to read no text from pixels, however large."
        return (FAIL if words >= MANY else WARN), why, TURN_ON
    if share >= SOME:
        return WARN, f"{share:.0%} of the words are too small for the model to read.", TURN_ON
    if reads_from is None:
        return PASS, "The text is large enough to be legible; how small this model can read was not measured.", ""
    return PASS, "The text is large enough for the model to read.", ""


def _measured(sized: list[tuple[float, float | None]], seen: list[float], reads_from: float | None) -> str:
    parts = [f"{len(sized)} word{'s' * (len(sized) != 1)}"]
    if seen:
        upload = median(height for height, _ in sized)
        parts.append(f"median height {median(seen):.1f} px as the model sees them, {upload:.0f} px in the upload")
        if reads_from is None:
            parts.append(f"legible from {LEGIBLE:.0f} px")
        else:
            parts.append("it reads none" if reads_from == math.inf else f"it reads from {reads_from:.0f} px")
    return ", ".join(parts)
