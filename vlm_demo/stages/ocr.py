"""OCR: an upload at full resolution → the text printed in it, word by word, each picture read once while cached.

Knows neither how an engine reads nor the question.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from vlm_demo.contracts import DEFAULT_OCR, OcrResult, OcrSettings
from vlm_demo.runtime.cancellation import Cancelled, check
from vlm_demo.runtime.chart_columns import by_columns
from vlm_demo.runtime.feature_cache import visitor_prefix
from vlm_demo.runtime.lru_store import LruStore
from vlm_demo.runtime.ocr_engines import engine_for

STRIP = 4_000_000  # pixels that are hashed between two checks for cancellation
WORD_BYTES = 300  # that a cached word takes, or a little less


class OcrReader:
    """Reads pictures, and caches what it read by their pixels."""

    def __init__(self, store: LruStore) -> None:
        self.store = store

    def __call__(
        self,
        image: Image.Image,
        settings: OcrSettings = DEFAULT_OCR,
        cancelled: Cancelled | None = None,
        visitor: str = "",
    ) -> OcrResult:
        """Read the text of a picture, or return what was read in it before with the same settings.

        Args:
            image: upright, RGB.
            settings: in which languages, by which engine.
            cancelled: asked all the time; this returns at once when it turns True.
            visitor: whose picture it is, see ``contracts.engine.Request``.
        Raises:
            OcrUnavailable: the engine or a language is missing, or it fails; says what to do.
            Stopped: ``cancelled()`` turned True.
        """
        began = time.perf_counter()
        key = ("ocr", settings, visitor_prefix(visitor) + _picture_key(image, cancelled))
        known = self.store.get(key)
        if known is not None:
            return replace(known, seconds=time.perf_counter() - began, cached=True)
        result = read(image, cancelled, settings)
        self.store.put(key, result, WORD_BYTES * (1 + len(result.words)) + len(result.text))
        return result


def read(image: Image.Image, cancelled: Cancelled | None = None, settings: OcrSettings = DEFAULT_OCR) -> OcrResult:
    """Read the text of a picture.

    Args:
        image: upright, RGB.
        cancelled: asked all the time; this returns at once when it turns True.
        settings: in which languages, by which engine.
    Returns:
        The words in reading order with their boxes in the picture's pixels, and the text with a line break a line. Of
        an upright chart each category stands with its values, see ``runtime.chart_columns``.
    Raises:
        OcrUnavailable: the engine or a language is missing, or it fails; says what to do.
        Stopped: ``cancelled()`` turned True.
    """
    began = time.perf_counter()
    engine = engine_for(settings.engine)
    found = engine.read(image, settings.languages, cancelled)
    note = engine.doubt(image, found, settings.languages, cancelled)
    confident = [[word for word in line if word.confidence >= settings.least_confidence] for line in found]
    lines = by_columns([line for line in confident if line])
    text = "\n".join(" ".join(word.text for word in line) for line in lines)
    words = tuple(word for line in lines for word in line)
    return OcrResult(text, words, time.perf_counter() - began, note=note)


def merged(results: Sequence[OcrResult]) -> OcrResult | None:
    """The reading of several pictures as one result, None for no picture. Boxes stay in their own picture."""
    if len(results) <= 1:
        return results[0] if results else None
    return OcrResult(
        "\n".join(result.text for result in results if result.text),
        tuple(word for result in results for word in result.words),
        sum(result.seconds for result in results),
        sum(result.left_out for result in results),
        all(result.cached for result in results),
        " ".join(dict.fromkeys(result.note for result in results if result.note)),
    )


def _picture_key(image: Image.Image, cancelled: Cancelled | None) -> str:
    """The SHA-256 of what an engine is given of a picture, in hexadecimal digits."""
    digest = hashlib.sha256(repr((image.mode, image.size)).encode())
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        check(cancelled)
        digest.update(image.crop((0, top, image.width, min(top + rows, image.height))).tobytes())
    return digest.hexdigest()
