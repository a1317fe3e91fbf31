"""Hallucination control: does the answer rest on the picture, or would it have been given without one?

Values: evidence_only, unfinished, said_unknown, level and evidence (the badge and its sentence; None before it is
known), blank_answer, same_as_blank, with_picture and with_blank (the probability of the answer's tokens, 0..1, their
geometric mean).

The counterfactual is the plainest test there is: the same question about a blank picture. An answer that stays, and
hardly loses probability, comes from habit.
"""

from __future__ import annotations

from vlm_demo.checks.grounding_badge import says_unknown
from vlm_demo.contracts.checks import (
    FAIL,
    HALLUCINATION,
    OPEN,
    PASS,
    TURN_ON_EVIDENCE_ONLY,
    WARN,
    BlankAnswer,
    Check,
    Value,
)
from vlm_demo.contracts.grounding import GROUNDED, LEVELS, NOT_ABOUT, NOT_VISIBLE, READ, WEAK, Grounding
from vlm_demo.words import bare

LIKELIER = 2.0  # how many times likelier an answer must be with the picture to rest on it
WHY = {
    GROUNDED: "The answer rests on the picture.",
    READ: "The answer rests on text that was read in the picture.",
    WEAK: "The answer rests only weakly on the picture.",
    NOT_VISIBLE: "The model said nothing.",
    NOT_ABOUT: "The answer is not about the picture.",
}
TURN_ON = "Turn on evidence only, and the model may say that it can't see it."
DOUBT = "Look for yourself before you rely on it, or ask about a part of the picture."


def check(
    evidence_only: bool,
    answer: str,
    grounding: Grounding | None = None,
    blank: BlankAnswer | None = None,
    unfinished: bool = False,
) -> Check:
    """Judge an answer by what is known so far: neither ``grounding`` nor ``blank`` = not tested.

    An ``unfinished`` answer is the same as one that begins with it.
    """
    unknown = says_unknown(answer)
    same = None
    if blank is not None:
        given, other = _folded(answer), _folded(blank.text)
        same = other == given or (unfinished and bool(given) and other.startswith(given))
    values: dict[str, Value] = {
        "evidence_only": evidence_only,
        "unfinished": unfinished,
        "said_unknown": unknown,
        "level": grounding.level if grounding else None,
        "evidence": grounding.sentence if grounding else None,
        "blank_answer": blank.text if blank else None,
        "same_as_blank": same,
        "with_picture": blank.with_picture if blank else None,
        "with_blank": blank.with_blank if blank else None,
    }
    verdict, why = _judged(unknown, grounding, blank, bool(same))
    bad = verdict in (WARN, FAIL)
    remedy = (DOUBT if evidence_only else TURN_ON) if bad else ""
    if verdict == OPEN:
        remedy = "Ask the same question about a blank picture, and compare."
    press = TURN_ON_EVIDENCE_ONLY if bad and not evidence_only else ""
    return Check(HALLUCINATION, verdict, values, why, remedy, _measured(values, blank), press)


def _judged(unknown: bool, grounding: Grounding | None, blank: BlankAnswer | None, same: bool) -> tuple[str, str]:
    level = grounding.level if grounding else None
    if unknown:
        return PASS, "The model says that it can't see it."
    if grounding and level in (NOT_ABOUT, NOT_VISIBLE):
        return (PASS if level == NOT_ABOUT else FAIL), WHY[grounding.level]
    if blank is not None and same and not _likelier(blank):
        return WARN, "A blank picture gets the same answer: it comes from habit, not from the picture."
    if grounding and level == WEAK:
        return WARN, WHY[grounding.level]
    if blank is not None and same:
        return PASS, "A blank picture gets the same answer, but the real one makes it much likelier."
    if blank is not None:
        return PASS, "Without the picture the answer is another."
    if grounding:
        return PASS, WHY[grounding.level]
    return OPEN, "Nothing has tested this answer yet."


def _likelier(blank: BlankAnswer) -> bool:
    if blank.with_blank is None or blank.with_picture is None:
        return False
    return blank.with_picture >= LIKELIER * blank.with_blank


def _measured(values: dict[str, Value], blank: BlankAnswer | None) -> str:
    parts = [f"evidence only {'on' if values['evidence_only'] else 'off'}"]
    if values["unfinished"]:
        parts.append("the answer is unfinished")
    if values["level"] is not None:
        parts.append(LEVELS[str(values["level"])].lower())
    if blank is not None:
        parts.append(f"blank picture: {'the same' if values['same_as_blank'] else 'another'} answer")
    if blank is not None and blank.with_blank is not None and blank.with_picture is not None:
        parts.append(f"probability {blank.with_picture:.2f} with the picture, {blank.with_blank:.2f} without")
    return ", ".join(parts)


def _folded(text: str) -> str:
    return " ".join(part for word in text.split() if (part := bare(word)))
