"""RapidOCR engine: the same interface as Tesseract's, by ``rapidocr-onnxruntime``, which contains its models. An extra.

It finds boxes of text and reads each; their order, and the words in them, are worked out here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from vlm_demo.contracts import OcrWord
from vlm_demo.errors import OcrUnavailable
from vlm_demo.runtime.cancellation import Cancelled
from vlm_demo.runtime.tesseract_engine import in_thread

LANGUAGES = ("eng", "chi_sim")  # what its models read, by Tesseract's names, so that settings fit both
INSTALL = "Reading text with RapidOCR needs its package: install it with `pip install rapidocr-onnxruntime`."
OTHER_LANGUAGE = "RapidOCR reads {} and no other language: choose among them, or the engine tesseract."
UNREADABLE = "RapidOCR cannot read this picture: crop or enlarge it, or turn OCR off."
LONGEST_SECONDS = 120.0
THREADS = 1  # more gain little on one picture, and take the cores from the model
SAME_ROW = 0.5  # of the lower of two boxes is level with the other

Corners = Sequence[Sequence[float]]  # four points (x, y) around a text
Found = tuple[Corners, str, float]  # as RapidOCR returns a text; its confidence is 0..1

_one_at_a_time = threading.Lock()


class RapidOcrEngine:
    """A `contracts.ocr.OcrEngine`: one model for all languages that it reads."""

    def installed(self) -> tuple[str, ...]:
        return LANGUAGES

    def missing(self, languages: str) -> str | None:
        try:
            import rapidocr_onnxruntime  # noqa: F401
        except ImportError:
            return INSTALL
        if set(languages.split("+")) - set(LANGUAGES):
            return OTHER_LANGUAGE.format(" and ".join(LANGUAGES))
        return None

    def read(self, image: Image.Image, languages: str, cancelled: Cancelled | None = None) -> list[list[OcrWord]]:
        if problem := self.missing(languages):
            raise OcrUnavailable(problem)
        return rows(in_thread(lambda: _read(image), cancelled, time.monotonic() + LONGEST_SECONDS))

    def doubt(
        self, image: Image.Image, found: list[list[OcrWord]], languages: str, cancelled: Cancelled | None = None
    ) -> str:
        return ""  # it recognises the letters that it knows, and reports no others


def rows(found: Sequence[Found]) -> list[list[OcrWord]]:
    """Texts with their corners → lines from top to bottom, each its words from the left."""
    lines: list[list[Found]] = []
    for text in sorted(found, key=lambda text: _box(text[0])[1]):
        _, top, _, bottom = _box(text[0])
        for line in lines:
            _, first, _, last = _box(line[0][0])
            if min(bottom, last) - max(top, first) > SAME_ROW * min(bottom - top, last - first):
                line.append(text)
                break
        else:
            lines.append([text])
    read = [
        [word for text in sorted(line, key=lambda text: _box(text[0])[0]) for word in _words(text)] for line in lines
    ]
    return [line for line in read if line]


def _words(found: Found) -> list[OcrWord]:
    """The words of a text, each with its share of the box by its letters."""
    corners, text, confidence = found
    left, top, right, bottom = _box(corners)
    step, at, words = (right - left) / max(1, len(text)), 0, []
    for word in text.split():
        at = text.index(word, at)
        begin, end = left + step * at, left + step * (at + len(word))
        words.append(OcrWord(word, (round(begin), top, round(end), bottom), 100 * confidence))
        at += len(word)
    return words


def _box(corners: Corners) -> tuple[int, int, int, int]:
    xs, ys = zip(*corners, strict=True)
    return max(0, round(min(xs))), max(0, round(min(ys))), round(max(xs)), round(max(ys))


def _read(image: Image.Image) -> list[Found]:
    pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])  # BGR, as OpenCV has it
    try:
        with _one_at_a_time:  # it keeps the state of a reading in itself
            found, _ = _model()(pixels)
    except Exception as error:  # of OpenCV and onnxruntime, each with kinds of its own
        raise OcrUnavailable(UNREADABLE) from error
    return [(corners, text, float(confidence)) for corners, text, confidence in found or ()]


@cache
def _model() -> Any:
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR(intra_op_num_threads=THREADS)
