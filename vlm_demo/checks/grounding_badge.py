"""Grounding badge: evidence for an answer → what it rests on, in a word and a sentence. Asks no model."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlm_demo.checks.calibration import LEAST, THRESHOLDS, Calibration, Limits, as_row
from vlm_demo.contracts import Answer, Evidence
from vlm_demo.contracts.grounding import GROUNDED, NOT_ABOUT, READ, WEAK, Grounding
from vlm_demo.contracts.ocr import ReadWord

HOT = 0.1  # the share of the picture's patches that counts as hot
UNKNOWN = "unknown"  # what the evidence-only rule asks for
SAYS_UNKNOWN = re.compile(
    r"((it|this|that)( is|'s) )?(unknown|unclear|not (clear|visible|readable|legible))(\s*[,.;:].*)?"
    r"|(i|we|you) (cannot|can not|can't|could not|couldn't|do not|don't) (know|see|tell|say|read)\b.*"
    r"|((it|this|that) )?(cannot|can not|can't) be (seen|read|told|said|determined)\b.*",
    re.DOTALL,
)
SAYS_YES_NO = re.compile(r"(yes|no|true|false)\b.*")
SAYS_NUMBER = re.compile(r"\d+|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve")
SAYS_NONE = re.compile(r"none|nothing|zero|0|(no|there (is|are) (no|none|nothing))\b.*")


def badge(
    found: Evidence,
    calibration: Calibration | None,
    share_known: bool = True,
    match_known: bool = True,
    none: bool = False,
    quote: str = "",
    words: Sequence[ReadWord] = (),
) -> Grounding:
    """The badge that evidence earns. Uncalibrated, the score is what falls away at most.

    Args:
        found: what was tried.
        calibration: of the checkpoint, or None.
        share_known, match_known: whether the evidence's ``share`` and ``match`` were told.
        none: the answer says that there is none of something (`says_none`).
        quote, words: what it repeats of the text that OCR read.
    """
    limits = calibration.limits if calibration else Limits()
    high = calibration.thresholds[1] if calibration else THRESHOLDS[1]
    score = max(found.hot, found.whole, found.text)
    if calibration is not None:
        score = float(calibration.score(as_row(found)[None])[0])
    likely = score >= high
    # What fills the picture, or stands in it many times, is not hidden with the hottest patches: then all of it counts.
    by_picture = max(found.hot, found.whole) >= max(limits.picture, LEAST) or found.turned
    by_text = found.text >= max(limits.text, LEAST) or found.text_turned
    # A score that was fitted on no answers of such text says nothing of them.
    known = calibration is not None and bool(limits.read or not by_text)
    green_text = by_text and (likely or not limits.read)
    if green_text and not (by_picture and likely and found.hot > found.text):
        level = READ
    elif by_picture and likely:
        level = GROUNDED
    elif changes_nothing(found, limits) and not none:
        level = NOT_ABOUT
    else:
        level = WEAK
    share, match = found.share if share_known else None, found.match if match_known else None
    sentence = _sentence(found, level, score if known else None, none, share, match, quote)
    return Grounding(
        level, score, found.hot, share, match, sentence, found.text if quote else None, quote, tuple(words)
    )


def changes_nothing(found: Evidence, limits: Limits) -> bool:
    """Whether the answer stays the same, as likely as before, with neither the pictures nor any text."""
    turned = found.blank_turned or found.turned or found.text_turned
    blurred = max(found.hot, found.whole) >= max(limits.picture, LEAST)
    return not turned and not blurred and max(found.blank, found.text) <= limits.nothing


def says_unknown(answer: str) -> bool:
    """Whether an answer's text is that nothing can be said."""
    return SAYS_UNKNOWN.fullmatch(_folded(answer)) is not None


def says_yes_no(answer: Answer) -> bool:
    """Whether the answer is yes or no."""
    return SAYS_YES_NO.fullmatch(_folded(answer.text)) is not None


def says_number(answer: Answer) -> bool:
    """Whether the answer is a number."""
    return SAYS_NUMBER.fullmatch(_folded(answer.text)) is not None


def says_none(answer: Answer) -> bool:
    """Whether the answer is no, or that there is none. A blank picture holds none of anything, so that it gets the same
    answer to a question about the picture, too."""
    return SAYS_NONE.fullmatch(_folded(answer.text)) is not None


def _folded(text: str) -> str:
    return text.strip(" \n\t.,;:!?\"'()").casefold().replace("’", "'")


def _sentence(
    found: Evidence,
    level: str,
    score: float | None,
    none: bool,
    share: float | None,
    match: float | None,
    quote: str,
) -> str:
    """Headline first: what the badge rests on, then the rest."""
    hidden = (
        f"Blurring the {HOT:.0%} of the picture that the map marks takes {found.hot:.0%} of the answer's probability, "
        f"blurring as much elsewhere {found.elsewhere:.0%}, blurring all of it {found.whole:.0%}."
    )
    taken = (
        f"The text that was read says “{quote}”: without these words {found.text:.0%} of their probability is gone, "
        f"without as many others {found.other:.0%}."
    )
    parts = [taken, hidden] if quote and level == READ else [hidden, taken] if quote else [hidden]
    if level == NOT_ABOUT:
        parts.insert(0, "With a blank picture, and no text read, the answer stays the same and as likely.")
    elif level == WEAK and none:
        parts.append("A blank picture holds none of anything, so hiding can hardly test such an answer.")
    if share is not None:
        parts.append(f"{share:.0%} of the attention rested on the picture.")
    if match is not None:
        parts.append(f"The answer fits the picture to {match:.0%}, by the part of the model that compares them.")
    if score is None:
        parts.append("How often such answers are right was not measured for this model.")
    else:
        parts.append(f"Of held-out answers with evidence like this, about {score:.0%} were right and visible.")
    return " ".join(parts)
