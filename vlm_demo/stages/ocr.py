"""OCR: an upload at full resolution → the text printed in it, word by word, by Tesseract.

Decides how a picture is given to Tesseract, and which of its words to take. Knows nothing of the question.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from xml.etree import ElementTree

from PIL import Image

from vlm_demo.contracts import OcrResult, OcrWord
from vlm_demo.stages import ocr_layout
from vlm_demo.stages.guard import Cancelled
from vlm_demo.stages.tesseract import read_hocr

BLOCK = 6  # page mode, one block of text: a receipt's prices stay on the lines of their goods
LEAST_CONFIDENCE = 30.0  # below, it is mostly letters seen in shapes
LONGEST_SIDE = 32_000  # Tesseract takes no more than 32,767 pixels a side
READABLE_HEIGHT, WANTED_HEIGHT = 16, 26  # pixels of a word: smaller ones are read again, larger
MOST_LARGER, MOST_PIXELS = 3.0, 8_000_000
CHART_WORDS, CHART_SIDE = 80, 1600  # a picture of more words, or more pixels a side, is no chart, but a page
SURE, LIKELY = 85.0, 55.0  # confidences of words that run upwards, alone and in a row of labels
SMALL = 700  # pixels of the longer side: where nothing was read, such a picture may hold tiny text
APART = 0.9  # of a letter's height: so far from the one before it, a letter begins a word of its own


def read(image: Image.Image, cancelled: Cancelled | None = None) -> OcrResult:
    """Read the text of a picture.

    Args:
        image: upright, RGB.
        cancelled: asked all the time; the program is ended when it turns True.
    Returns:
        The words in reading order with their boxes in the picture's pixels, and the text with a line break a line.
    Raises:
        OcrUnavailable: Tesseract is missing or fails; says what to do.
        Stopped: ``cancelled()`` turned True.
    """
    began = time.perf_counter()
    found = _read_at(min(1.0, LONGEST_SIDE / max(image.size)), image, cancelled)
    larger = _enlargement(found, image.size)
    if larger > 1:
        found = _read_at(larger, image, cancelled)
    if 0 < sum(map(len, found)) <= CHART_WORDS and max(image.size) <= CHART_SIDE:
        found = _with_upward(found, image, max(larger, 1.0), cancelled)
    text = "\n".join(" ".join(word.text for word in line) for line in found)
    return OcrResult(text, tuple(word for line in found for word in line), time.perf_counter() - began)


def _read_at(scale: float, image: Image.Image, cancelled: Cancelled | None, mode: int = BLOCK) -> list[list[OcrWord]]:
    """The lines of a picture that is read ``scale`` times as large, in the picture's own pixels."""
    size = [max(1, round(side * scale)) for side in image.size]
    shown = image if scale == 1 else image.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    return list(_lines(read_hocr(shown, mode, cancelled), 1 / scale))


def _with_upward(
    found: list[list[OcrWord]], image: Image.Image, scale: float, cancelled: Cancelled | None
) -> list[list[OcrWord]]:
    """The lines, and behind them the words that run upwards, such as a chart's axis has: what is read in the picture
    turned by a quarter, and neither stands where level words do nor is likely to be letters seen in shapes."""
    height, labels = image.height, list[list[OcrWord]]()
    for line in _read_at(scale, image.transpose(Image.Transpose.ROTATE_270), cancelled):
        for label in ocr_layout.parts(line):
            back = [(word.box[1], height - word.box[2], word.box[3], height - word.box[0]) for word in label]
            labels.append([replace(word, box=box) for word, box in zip(label, back, strict=True)])
    level = [word for line in found for word in line if word.confidence >= SURE or len(word.text) > 3]
    there = [label for label in labels if all(_may_be(word) for word in label) and not _hidden(label, level)]
    kept = [label for label in there if _sure(label) or sum(_lined_up(label, other) for other in there) > 2]
    found = [[word for word in line if not _hidden([word], _outdoing(word, kept, word in level))] for line in found]
    return [line for line in found if line] + ocr_layout.in_rows(kept)


def _outdoing(word: OcrWord, labels: list[list[OcrWord]], sure: bool) -> list[OcrWord]:
    """The words of labels that a level one must give way to: all if it is not ``sure``, or else longer ones."""
    return [own for label in labels for own in label if not sure or len(own.text) > len(word.text)]


def _may_be(word: OcrWord) -> bool:
    return word.confidence >= LIKELY and any(letter.isalnum() for letter in word.text)


def _sure(label: list[OcrWord]) -> bool:
    return min(word.confidence for word in label) >= SURE and sum(len(word.text) for word in label) > 2


def _lined_up(label: list[OcrWord], other: list[OcrWord]) -> bool:
    """Whether the labels begin or end at the same height, as those of an axis do (or are the same)."""
    (x0, top, x1, bottom), (_, other_top, _, other_bottom) = ocr_layout.around(label), ocr_layout.around(other)
    return min(abs(top - other_top), abs(bottom - other_bottom)) <= 0.35 * (x1 - x0)


def _hidden(words: list[OcrWord], others: list[OcrWord]) -> bool:
    """Whether a good part of the words lies on others."""
    x0, y0, x1, y1 = ocr_layout.around(words)
    for other in others:
        across = min(x1, other.box[2]) - max(x0, other.box[0])
        down = min(y1, other.box[3]) - max(y0, other.box[1])
        if across > 0 and down > 0 and across * down > 0.3 * (x1 - x0) * (y1 - y0):
            return True
    return False


def _enlargement(found: list[list[OcrWord]], size: tuple[int, int]) -> float:
    """How many times larger a picture is better read, whose text ``found`` is small; 1 = it is large enough."""
    heights = [word.box[3] - word.box[1] for line in found for word in line]
    if not heights:
        wanted = MOST_LARGER if max(size) < SMALL else 1.0
    else:
        tall = max(1, sorted(heights)[len(heights) // 2])
        wanted = WANTED_HEIGHT / tall if tall < READABLE_HEIGHT else 1.0
    return max(1.0, min(wanted, MOST_LARGER, (MOST_PIXELS / (size[0] * size[1])) ** 0.5))


def merged(results: Sequence[OcrResult]) -> OcrResult | None:
    """The reading of several pictures as one result, None for no picture. Boxes stay in their own picture."""
    if len(results) <= 1:
        return results[0] if results else None
    text = "\n".join(result.text for result in results if result.text)
    words = tuple(word for result in results for word in result.words)
    return OcrResult(text, words, sum(result.seconds for result in results))


def _lines(told: str, scale: float) -> Iterator[list[OcrWord]]:
    """Tesseract's hOCR → lines of words, boxes multiplied by ``scale``."""
    for element in ElementTree.fromstring(told).iter():
        words = [part for part in element if part.get("class") == "ocrx_word"]
        line = [own for word in words for own in _word(word, scale)]
        if line:
            yield line


def _word(word: ElementTree.Element, scale: float) -> Iterator[OcrWord]:
    """What Tesseract takes for a word, cut where its letters stand wide apart: it joins the labels of an axis."""
    confidence = float(_told(word, "x_wconf")[0])
    if confidence < LEAST_CONFIDENCE:
        return
    letters = [
        ((letter.text or "").strip(), [float(edge) * scale for edge in _told(letter, "x_bboxes")])
        for letter in word.iter()
        if letter.get("class") == "ocrx_cinfo"
    ]
    letters = [(text, box) for text, box in letters if text]
    if not letters:
        return
    widest = APART * max(box[3] - box[1] for _, box in letters)
    begin = 0
    for i in range(1, len(letters) + 1):
        if i < len(letters) and letters[i][1][0] - letters[i - 1][1][2] <= widest:
            continue
        run = letters[begin:i]
        # The boxes of letters are less exact than the word's.
        boxes = (
            [[float(edge) * scale for edge in _told(word, "bbox")]] if len(run) == len(letters) else [b for _, b in run]
        )
        left, top, right, bottom = zip(*boxes, strict=True)
        box = (round(min(left)), round(min(top)), round(max(right)), round(max(bottom)))
        yield OcrWord("".join(text for text, _ in run), box, confidence)
        begin = i


def _told(element: ElementTree.Element, name: str) -> list[str]:
    """The values of a property in hOCR's ``title``."""
    told = (part.split() for part in element.get("title", "").split(";"))
    return next((values[1:] for values in told if values and values[0] == name), ["0"] * 4)
