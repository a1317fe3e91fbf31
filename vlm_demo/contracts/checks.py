"""Checks: the checklist under an answer, and the answer to the same question about a blank picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PASS, WARN, FAIL = "pass", "warn", "fail"
OPEN = "open"  # not measured yet, because that costs another reading or another answer
VERDICTS = (PASS, WARN, FAIL, OPEN)

IMAGE_TOKENS = "Image tokens"
RESOLUTION = "Resolution"
HALLUCINATION = "Hallucination control"
SMALL_TEXT = "Small text"
LATENCY = "Latency and memory"
NAMES = (IMAGE_TOKENS, RESOLUTION, HALLUCINATION, SMALL_TEXT, LATENCY)

# What one press can do about a check.
TURN_ON_OCR, TURN_ON_EVIDENCE_ONLY = "ocr", "evidence_only"
PRESSES = {
    TURN_ON_OCR: "Turn on OCR and ask again",
    TURN_ON_EVIDENCE_ONLY: "Turn on evidence only and ask again",
}

Value = int | float | str | bool | None


@dataclass(frozen=True)
class Check:
    """One line of the checklist.

    Attributes:
        name: one of ``NAMES``, which also is their order.
        verdict: one of ``VERDICTS``.
        values: what was measured, each under its name; the module of each check in ``vlm_demo.checks`` lists them. A
            value that was not measured is None.
        why: one sentence, the reason of the verdict.
        remedy: one sentence, what to do; empty where nothing has to be done.
        measured: the values that matter, in one line for a person.
        press: a key of ``PRESSES`` where one press does what ``remedy`` says; empty otherwise.
    """

    name: str
    verdict: str
    values: Mapping[str, Value]
    why: str
    remedy: str = ""
    measured: str = ""
    press: str = ""


@dataclass(frozen=True)
class BlankAnswer:
    """What came of the same question about blank pictures of the same sizes.

    Attributes:
        text: the answer to it.
        with_picture: 0..1, the probability of the real answer's tokens, their geometric mean; None where the engine
            can't compute it.
        with_blank: the same of the same tokens when the pictures are blank; None likewise.
    """

    text: str
    with_picture: float | None = None
    with_blank: float | None = None
