"""Tesseract engine: a picture at full resolution → the text printed in it, word by word, by Tesseract.

Decides how a picture is given to Tesseract, turned, enlarged or without its rules, and which of its readings to take.
Knows nothing of the question.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from PIL import Image

from vlm_demo.contracts import OcrWord
from vlm_demo.errors import OcrUnavailable
from vlm_demo.own_thread import started
from vlm_demo.runtime import hocr, ocr_layout, scripts, tesseract
from vlm_demo.runtime.cancellation import POLL_SECONDS, Cancelled, check
from vlm_demo.runtime.ink import all_within
from vlm_demo.runtime.ocr_layout import SURE
from vlm_demo.runtime.table_rules import is_grid, without_rules
from vlm_demo.runtime.tesseract import TookTooLong, read_hocr
from vlm_demo.runtime.text_angle import text_angle
from vlm_demo.runtime.turned_picture import TurnedPicture

T = TypeVar("T")
Lines = list[list[OcrWord]]

BLOCK = 6  # page mode, one block of text: a receipt's prices stay on the lines of their goods
COLUMN = 4  # page mode, one column of text of several sizes: reads some ruled tables of which BLOCK reads nothing
AUTO = 3  # page mode, Tesseract looks for text itself, between rules and pictures and on its side too
MANY, FEW = 8, 4  # letters: below, another reading is looked for; below, there are none
PART = 0.6  # of all letters of a reading that is unsure, so many sure ones has a better one
MORE = 1.1  # so many times as many sure letters has a better reading of a picture that is known to need one
CERTAIN = 0.9  # of all letters of a reading that leaves no doubt which way up a page lies are sure
LONGEST_SIDE = 32_000  # Tesseract takes no more than 32,767 pixels a side
READABLE_HEIGHT, WANTED_HEIGHT = 16, 26  # pixels of a word: smaller ones are read again, larger
MOST_LARGER, MOST_PIXELS = 3.0, 8_000_000
CHART_WORDS, CHART_SIDE = 80, 1600  # a picture of more words, or more pixels a side, is no chart, but a page
SMALL = 700  # pixels of the longer side: where nothing was read, such a picture may hold tiny text
LEAST_ANGLE = 1.5  # degrees: text that runs less askew is read as it is
MOST_TURNED = 25_000_000  # pixels of a picture that may be turned by any angle: it takes several times its bytes


class TesseractEngine:
    """A `contracts.ocr.OcrEngine`: several readings where the first finds little, and the best of them."""

    def installed(self) -> tuple[str, ...]:
        try:
            return tesseract.installed()
        except OcrUnavailable:
            return ()

    def missing(self, languages: str) -> str | None:
        return tesseract.available(languages)

    def read(self, image: Image.Image, languages: str, cancelled: Cancelled | None = None) -> Lines:
        if languages != tesseract.LANGUAGE and (problem := tesseract.available(languages)):
            # Of several languages Tesseract silently leaves out those that it lacks.
            raise OcrUnavailable(problem)
        return _Reading(languages, cancelled, time.monotonic() + tesseract.LONGEST_SECONDS).read(image)

    def doubt(self, image: Image.Image, found: Lines, languages: str, cancelled: Cancelled | None = None) -> str:
        """Asks Tesseract for the script where little was read surely of what looks like lines of text."""
        if not _poor(found) or image.width * image.height > MOST_TURNED or max(image.size) > LONGEST_SIDE:
            return ""
        if in_thread(partial(text_angle, image), cancelled) is None:
            return ""
        try:
            script = tesseract.script_of(image, cancelled)
        except OcrUnavailable:
            return ""
        many = _letters(found) >= MANY
        return scripts.advice(script, languages, self.installed(), many)


@dataclass(frozen=True)
class _Reading:
    """One picture being read: in which languages, whether to stop, and until when (`time.monotonic`)."""

    languages: str
    cancelled: Cancelled | None
    deadline: float

    def read(self, image: Image.Image) -> Lines:
        """The best reading; one that was made when the time ran out is not lost."""
        found, scale = self._sized(image)
        if self._complete(found, image):
            return found
        with suppress(TookTooLong):
            found, scale, turned = self._improved(found, scale, image)
            chart = 0 < sum(map(len, found)) <= CHART_WORDS and max(image.size) <= CHART_SIDE
            if chart and not turned and not self._in_thread(partial(is_grid, image)):
                found = self._with_sideways(found, max(scale, 1.0), image)
        return found

    def _complete(self, found: Lines, image: Image.Image) -> bool:
        """Whether every word is sure and nothing else is printed, so that no other reading can find more: a
        word, or a plain page, that lies level."""
        if not found or _letters(found, SURE) < _letters(found):
            return False
        boxes = [word.box for line in found for word in line]
        return self._in_thread(partial(all_within, image, boxes))

    def _improved(self, found: Lines, scale: float, image: Image.Image) -> tuple[Lines, float, bool]:
        """A better reading where there is one, at which scale, and whether the picture was turned for it."""
        angle = self._in_thread(partial(text_angle, image)) if image.width * image.height <= MOST_TURNED else None
        lost = _poor(found) or _letters(found) < MANY
        # 1) lines that run askew
        if angle is not None and abs(angle) >= LEAST_ANGLE and (lost or abs(angle) <= 45):
            other = self._turned(image, angle, found)
            if other is not None:
                return other, scale, True
        # 2) tables, pages on their side or head
        if lost:
            other, turned = self._otherwise(found, image)
            if other is not found:
                return other, scale, turned
        elif self._in_thread(partial(is_grid, image)):
            found = self._between_rules(found, image)
        # 3) tiny text
        if not found and max(image.size) < SMALL:
            return self._at(MOST_LARGER, image), MOST_LARGER, False
        return found, scale, False

    def _sized(self, image: Image.Image, mode: int = BLOCK) -> tuple[Lines, float]:
        """The lines of a picture, and how many times larger it was read for them."""
        scale = min(1.0, LONGEST_SIDE / max(image.size))
        found = self._at(scale, image, mode)
        larger = _enlargement(found, image.size)
        if larger > 1:
            with suppress(TookTooLong):
                return self._at(larger, image, mode), larger
        return found, scale

    def _turned(self, image: Image.Image, angle: float, found: Lines) -> Lines | None:
        """A better reading of a picture whose lines run at an angle; None where there is none. A page on its head looks
        the same, and is tried where the first way leaves a doubt; across them is tried where both read badly, as the
        upright rules of a table, which is askew, may have been taken for lines of text."""
        best = None
        askew = abs((angle + 45) % 90 - 45) >= LEAST_ANGLE
        for along in (angle, angle + 90) if askew else (angle,):
            for way in (along, along + 180):
                turned = self._in_thread(partial(TurnedPicture, image, way))
                other = self._between(turned.image)
                if _surer(other, found):
                    best, found = _back(other, turned), other
                    if _letters(other, SURE) > CERTAIN * _letters(other):
                        return best
            if best is not None and not _poor(found):
                break
        return best

    def _between(self, image: Image.Image) -> Lines:
        """The lines of a picture, without its rules where there are some among which little is read."""
        found, _ = self._sized(image)
        if _poor(found) or _letters(found) < MANY:
            plain = self._in_thread(partial(without_rules, image))
            if plain is not None:
                found, _ = self._sized(plain)
        return found

    def _otherwise(self, found: Lines, image: Image.Image) -> tuple[Lines, bool]:
        """A better reading than ``found`` where there is one, and whether the picture was turned for it: without the
        rules of a table, by the layout that Tesseract finds, as one column, or on its side or head."""
        plain = self._in_thread(partial(without_rules, image))
        if plain is not None:
            other, _ = self._sized(plain)
            if _better(other, found):
                return other, False
        image = plain or image
        other, _ = self._sized(image, AUTO)
        if _letters(other) < FEW:
            return found, False
        upward = [word for line in other for word in line if ocr_layout.upward(word)]
        sideways = 2 * len(upward) > sum(map(len, other))
        if not sideways:
            if _better(other, found):
                return other, False
            other, _ = self._sized(image, COLUMN)
            if _better(other, found):
                return other, False
        for way in (90, 270) if sideways else (180,):
            turned = self._in_thread(partial(TurnedPicture, image, way))
            other, _ = self._sized(turned.image)
            if _better(other, found):
                return _back(other, turned), True
        return found, False

    def _between_rules(self, found: Lines, image: Image.Image) -> Lines:
        """The reading of a ruled table without its rules, if that is surer, with the lines of ``found`` that it lacks:
        those between filled bars, for instance."""
        plain = self._in_thread(partial(without_rules, image))
        if plain is None:
            return found
        other, _ = self._sized(plain)
        return ocr_layout.with_missing(other, found) if _surer(other, found) else found

    def _with_sideways(self, found: Lines, scale: float, image: Image.Image) -> Lines:
        """The level lines, and behind them the labels that run upwards or downwards, as those of a chart's axis do."""
        labels: list[list[list[OcrWord]]] = []
        for way in (90, 270):
            turned = self._in_thread(partial(TurnedPicture, image, way))
            read = _back(self._at(scale, turned.image), turned)
            labels.append([label for line in read for label in ocr_layout.parts(line)])
        return ocr_layout.with_sideways(found, *labels)

    def _at(self, scale: float, image: Image.Image, mode: int = BLOCK) -> Lines:
        """The lines of a picture that is read ``scale`` times as large, in the picture's own pixels."""
        size = [max(1, round(side * scale)) for side in image.size]
        if scale != 1:
            image = self._in_thread(partial(image.resize, (size[0], size[1]), Image.Resampling.LANCZOS))
        left = max(0.0, self.deadline - time.monotonic())
        return list(hocr.lines(read_hocr(image, mode, self.cancelled, self.languages, left), 1 / scale))

    def _in_thread(self, work: Callable[[], T]) -> T:
        """What ``work`` returns; its thread is abandoned when the person stops."""
        return in_thread(work, self.cancelled)


def in_thread(work: Callable[[], T], cancelled: Cancelled | None, deadline: float | None = None) -> T:
    """What ``work`` returns; its thread is abandoned when the result is not wanted any more.

    Raises:
        Stopped: ``cancelled()`` turned True.
        TookTooLong: ``deadline`` (`time.monotonic`) has passed.
    """
    done = started(work)
    while True:
        check(cancelled)
        if deadline is not None and time.monotonic() > deadline:
            raise TookTooLong(tesseract.TOO_LONG)
        with suppress(TimeoutError):
            return done.result(POLL_SECONDS)


def _letters(found: Lines, least: float = 0.0) -> int:
    """How many letters and digits the words of at least this confidence have."""
    return sum(letter.isalnum() for line in found for word in line if word.confidence >= least for letter in word.text)


def _poor(found: Lines) -> bool:
    """Whether nothing was read, or most of it is unsure."""
    return 2 * _letters(found, SURE) <= _letters(found)


def _better(other: Lines, found: Lines) -> bool:
    """Whether another reading of the whole picture is to be taken for ``found``. One that reads a single label well,
    and not the rest, is no better."""
    sure = _letters(other, SURE)
    return not _poor(other) and sure > 2 * _letters(found, SURE) and sure > PART * _letters(found)


def _surer(other: Lines, found: Lines) -> bool:
    """Whether another reading is to be taken for ``found`` where there is reason to expect a better one."""
    return _letters(other, SURE) > max(FEW, MORE * _letters(found, SURE))


def _back(found: Lines, turned: TurnedPicture) -> Lines:
    """Lines that were read in a turned picture, with their boxes in the picture as it is."""
    return [[replace(word, box=turned.back(word.box)) for word in line] for line in found]


def _enlargement(found: Lines, size: tuple[int, int]) -> float:
    """How many times larger a picture is better read, whose text ``found`` is small; 1 = it is large enough."""
    heights = [word.box[3] - word.box[1] for line in found for word in line]
    if not heights:
        return 1.0
    tall = max(1, sorted(heights)[len(heights) // 2])
    wanted = WANTED_HEIGHT / tall if tall < READABLE_HEIGHT else 1.0
    return max(1.0, min(wanted, MOST_LARGER, (MOST_PIXELS / (size[0] * size[1])) ** 0.5))
