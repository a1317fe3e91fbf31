"""Words are measured in the pixels that the model sees, and OCR is advised where it has something to read."""

from __future__ import annotations

import math

import pytest

from tests.kit.views import read, whole
from vlm_demo.checks import small_text
from vlm_demo.contracts.checks import FAIL, OPEN, PASS, TURN_ON_OCR, WARN

VIEW = whole((960, 960), (240, 240))  # a quarter
PLANTED = [
    ((), False, None, PASS, "No text was found"),
    ((), True, None, PASS, "No text was found"),
    ((20, 20, 20, 20), False, None, FAIL, "too small"),  # 5 px
    ((20, 20), False, None, WARN, "too small"),  # two words are no page of text
    ((20, 20, 20, 20), True, None, PASS, "stands in the prompt"),
    ((60, 60, 60, 60), False, None, PASS, "was not measured"),  # 15 px
    ((60, 60, 60, 20), False, None, WARN, "25% of the words"),
    ((60, 60, 60, 60, 60, 60, 20), False, None, PASS, "large enough"),
    ((60, 60, 60, 60), False, 10.0, PASS, "large enough for the model to read"),
    ((60, 60, 60, 60), False, 16.0, FAIL, "too small"),
    ((60, 60, 60, 60), False, math.inf, FAIL, "no text from pixels"),
    ((20, 20, 20, 20), False, 3.0, FAIL, "too small"),  # nobody reads five pixels
]


@pytest.mark.parametrize("heights, ocr, reads_from, verdict, word", PLANTED)
def test_the_verdict_of_planted_words(heights, ocr: bool, reads_from: float | None, verdict: str, word: str) -> None:
    own = small_text.check([VIEW], [read(*heights)], ocr=ocr, reads_from=reads_from)
    assert own.verdict == verdict and word in own.why
    assert own.press == (TURN_ON_OCR if verdict in (WARN, FAIL) else "")


def test_heights_are_those_of_the_models_pixels() -> None:
    own = small_text.check([VIEW], [read(16, 24, 40)], ocr=False)
    assert (own.values["upload_height"], own.values["seen_height"]) == (24.0, pytest.approx(6.0))
    assert own.values["too_small"] == pytest.approx(2 / 3)
    squashed = whole((960, 960), (240, 480))
    assert small_text.check([squashed], [read(24)], ocr=False).values["seen_height"] == pytest.approx(12.0)
    assert small_text.check([squashed], [read(24, upward=True)], ocr=False).values["seen_height"] == pytest.approx(6.0)


def test_what_was_hardly_read_is_no_word() -> None:
    own = small_text.check([VIEW], [read(20, 20, 20, confidence=40.0)], ocr=False)
    assert own.verdict == PASS and own.values["words"] == 0 and own.press == ""


def test_nothing_is_claimed_of_a_picture_that_was_not_read() -> None:
    own = small_text.check([VIEW, VIEW], [read(20), None], ocr=False)
    assert own.verdict == OPEN and own.press == "" and own.values["words"] is None
    missing = small_text.check([VIEW], [None], ocr=False, unavailable="Install Tesseract.")
    assert missing.verdict == OPEN and missing.remedy == "Install Tesseract."
