"""The verdict follows the badge and the blank picture, and says so while neither is there."""

from __future__ import annotations

import pytest

from vlm_demo.checks import hallucination
from vlm_demo.checks.grounding_badge import says_unknown
from vlm_demo.contracts import BlankAnswer, Grounding
from vlm_demo.contracts.checks import FAIL, OPEN, PASS, TURN_ON_EVIDENCE_ONLY, WARN

HABIT, LIKELIER, OTHER = (
    BlankAnswer("A dog.", 0.34, 0.31),
    BlankAnswer("a dog", 0.8, 0.1),
    BlankAnswer("a sky", 0.8, 0.0),
)
UNSEEN = BlankAnswer("a dog", 0.8)  # an engine that can't tell the probability
PLANTED = [
    ("a dog", None, None, OPEN, "Nothing has tested"),
    ("a dog", "grounded", None, PASS, "rests on the picture"),
    ("TOTAL 5.30", "read", None, PASS, "rests on text"),
    ("a dog", "weak", None, WARN, "only weakly"),
    ("", "not visible", None, FAIL, "said nothing"),
    ("Unclear.", "not visible", None, PASS, "can't see it"),
    ("I can’t tell.", "not visible", HABIT, PASS, "can't see it"),
    ("It cannot be determined.", None, HABIT, PASS, "can't see it"),
    ("Unknown man in a suit", "weak", None, WARN, "only weakly"),
    ("Hello!", "not about the picture", None, PASS, "not about the picture"),
    ("a dog", None, HABIT, WARN, "comes from habit"),
    ("a dog", "grounded", HABIT, WARN, "comes from habit"),
    ("a dog", "weak", HABIT, WARN, "comes from habit"),
    ("a dog", None, UNSEEN, WARN, "comes from habit"),
    ("a dog", "grounded", LIKELIER, PASS, "much likelier"),
    ("a dog", None, LIKELIER, PASS, "much likelier"),
    ("a dog", "weak", LIKELIER, WARN, "only weakly"),
    ("a dog", "grounded", OTHER, PASS, "answer is another"),
    ("a dog", None, OTHER, PASS, "answer is another"),
    ("Unknown.", "not visible", None, PASS, "can't see it"),
    ("I don't know", None, HABIT, PASS, "can't see it"),
]


@pytest.mark.parametrize("answer, level, blank, verdict, word", PLANTED)
def test_the_verdict_of_a_planted_answer(answer: str, level: str | None, blank, verdict: str, word: str) -> None:
    badge = Grounding(level, 0.5, 0.5, 0.2, None, f"The sentence of {level}.") if level else None
    own = hallucination.check(False, answer, badge, blank)
    assert own.verdict == verdict and word in own.why
    assert own.press == (TURN_ON_EVIDENCE_ONLY if verdict in (WARN, FAIL) else "")
    told = hallucination.check(True, answer, badge, blank)
    assert told.verdict == verdict and told.press == "" and "evidence only on" in told.measured


def test_what_was_measured_is_told() -> None:
    own = hallucination.check(False, "a dog", None, HABIT)
    assert own.measured == (
        "evidence only off, blank picture: the same answer, probability 0.34 with the picture, 0.31 without"
    )
    assert own.values["same_as_blank"] is True and own.values["level"] is None


def test_an_unfinished_answer_is_the_same_as_one_that_begins_with_it() -> None:
    longer = BlankAnswer("A dog lies on the sofa.", 0.3, 0.3)
    assert hallucination.check(False, "A dog lies", None, longer, unfinished=True).verdict == WARN
    assert hallucination.check(False, "A dog lies", None, longer).verdict == PASS
    assert hallucination.check(False, "A cat lies", None, longer, unfinished=True).verdict == PASS


def test_an_answer_that_only_begins_like_unknown_is_an_answer() -> None:
    assert not says_unknown("unknownable") and not says_unknown("The unknown soldier")
    assert says_unknown("Unknown, it is too dark")
