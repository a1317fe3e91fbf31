"""OCR: an upload at full resolution → the text printed in it, word by word, by Tesseract.

Decides how a picture is given to Tesseract, and which of its words to take. Knows nothing of the question.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar
from xml.etree import ElementTree

from PIL import Image

from vlm_demo.contracts import OcrResult, OcrWord
from vlm_demo.runtime import ocr_layout
from vlm_demo.runtime.cancellation import POLL_SECONDS, Cancelled, check
from vlm_demo.runtime.ocr_layout import SURE
from vlm_demo.runtime.table_rules import without_rules
from vlm_demo.runtime.tesseract import read_hocr

T = TypeVar("T")

BLOCK = 6  # page mode, one block of text: a receipt's prices stay on the lines of their goods
AUTO = 3  # page mode, Tesseract looks for text itself, between rules and pictures and on its side too
UPWARD = Image.Transpose.ROTATE_270  # makes words level that run upwards
MANY, FEW = 8, 4  # letters: below, another reading is looked for; below, there are none
PART = 0.6  # of all letters of a reading that is unsure, so many sure ones has a better one
LEAST_CONFIDENCE = 30.0  # below, it is mostly letters seen in shapes
LONGEST_SIDE = 32_000  # Tesseract takes no more than 32,767 pixels a side
READABLE_HEIGHT, WANTED_HEIGHT = 16, 26  # pixels of a word: smaller ones are read again, larger
MOST_LARGER, MOST_PIXELS = 3.0, 8_000_000
CHART_WORDS, CHART_SIDE = 80, 1600  # a picture of more words, or more pixels a side, is no chart, but a page
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
    found, scale = _read_sized(image, cancelled)
    turn = None
    if _poor(found) or _letters(found) < MANY:
        found, turn = _read_otherwise(found, image, cancelled)
    if not found and max(image.size) < SMALL:
        scale = MOST_LARGER
        found = _read_at(scale, image, cancelled)
    if turn is None and 0 < sum(map(len, found)) <= CHART_WORDS and max(image.size) <= CHART_SIDE:
        upward = _read_at(max(scale, 1.0), image.transpose(UPWARD), cancelled)
        labels = [label for line in upward for label in ocr_layout.parts(line)]
        found = ocr_layout.with_upward(found, _turned_back(labels, UPWARD, image.size))
    text = "\n".join(" ".join(word.text for word in line) for line in found)
    return OcrResult(text, tuple(word for line in found for word in line), time.perf_counter() - began)


def _read_sized(
    image: Image.Image, cancelled: Cancelled | None, mode: int = BLOCK
) -> tuple[list[list[OcrWord]], float]:
    """The lines of a picture, and how many times larger it was read for them."""
    scale = min(1.0, LONGEST_SIDE / max(image.size))
    found = _read_at(scale, image, cancelled, mode)
    larger = _enlargement(found, image.size)
    return (_read_at(larger, image, cancelled, mode), larger) if larger > 1 else (found, scale)


def _read_otherwise(
    found: list[list[OcrWord]], image: Image.Image, cancelled: Cancelled | None
) -> tuple[list[list[OcrWord]], Image.Transpose | None]:
    """A better reading than ``found`` where there is one, and how the picture was turned for it: without the rules of a
    table, by the layout that Tesseract finds, or turned as that layout's lines suggest."""
    plain = _apart(partial(without_rules, image), cancelled)
    if plain is not None:
        image = plain
        other, _ = _read_sized(image, cancelled)
        if _better(other, found):
            return other, None
    other, _ = _read_sized(image, cancelled, AUTO)
    if _letters(other) < FEW:
        return found, None
    upward = [word for line in other for word in line if ocr_layout.upward(word)]
    if 2 * len(upward) > sum(map(len, other)):
        turns = [UPWARD, Image.Transpose.ROTATE_90]
    elif _better(other, found):
        return other, None
    else:
        turns = [Image.Transpose.ROTATE_180]
    for turn in turns:
        other, _ = _read_sized(image.transpose(turn), cancelled)
        if _better(other, found):
            return _turned_back(other, turn, image.size), turn
    return found, None


def _letters(found: list[list[OcrWord]], least: float = 0.0) -> int:
    """How many letters and digits the words of at least this confidence have."""
    return sum(letter.isalnum() for line in found for word in line if word.confidence >= least for letter in word.text)


def _poor(found: list[list[OcrWord]]) -> bool:
    """Whether nothing was read, or most of it is unsure."""
    return 2 * _letters(found, SURE) <= _letters(found)


def _better(other: list[list[OcrWord]], found: list[list[OcrWord]]) -> bool:
    """Whether another reading of the whole picture is to be taken for ``found``. One that reads a single label well,
    and not the rest, is no better."""
    sure = _letters(other, SURE)
    return not _poor(other) and sure > 2 * _letters(found, SURE) and sure > PART * _letters(found)


def _turned_back(found: list[list[OcrWord]], turn: Image.Transpose, size: tuple[int, int]) -> list[list[OcrWord]]:
    """Lines that were read in a turned picture, with their boxes in the picture of this size."""
    width, height = size

    def back(x0: int, y0: int, x1: int, y1: int) -> tuple[int, int, int, int]:
        if turn == Image.Transpose.ROTATE_90:
            return width - y1, x0, width - y0, x1
        if turn == Image.Transpose.ROTATE_270:
            return y0, height - x1, y1, height - x0
        return width - x1, height - y1, width - x0, height - y0

    return [[replace(word, box=back(*word.box)) for word in line] for line in found]


def _read_at(scale: float, image: Image.Image, cancelled: Cancelled | None, mode: int = BLOCK) -> list[list[OcrWord]]:
    """The lines of a picture that is read ``scale`` times as large, in the picture's own pixels."""
    size = [max(1, round(side * scale)) for side in image.size]
    if scale != 1:
        image = _apart(partial(image.resize, (size[0], size[1]), Image.Resampling.LANCZOS), cancelled)
    return list(_lines(read_hocr(image, mode, cancelled), 1 / scale))


def _apart(work: Callable[[], T], cancelled: Cancelled | None) -> T:
    """What ``work`` returns; it is left to itself in its thread when the person stops."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    while True:
        check(cancelled)
        with suppress(TimeoutError):
            return done.result(POLL_SECONDS)


def _enlargement(found: list[list[OcrWord]], size: tuple[int, int]) -> float:
    """How many times larger a picture is better read, whose text ``found`` is small; 1 = it is large enough."""
    heights = [word.box[3] - word.box[1] for line in found for word in line]
    if not heights:
        return 1.0
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
