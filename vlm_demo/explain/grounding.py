"""Grounding: what does an answer rest on? One badge from what happens to it when that is taken away.

The patches that the map marks are hidden, the words that OCR read are taken out of the prompt, and all of both. An
answer rests on what it loses probability without, and on nothing else. What the evidence is worth is fitted on answers
that are known to be right or wrong (`python -m vlm_demo evaluate FOLDER --grounding --fit`) and kept beside the
weights; a checkpoint without such a fit is judged by the evidence as it stands, and the sentence says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vlm_demo.contracts import Word
from vlm_demo.contracts.geometry import inside
from vlm_demo.contracts.grounding import GROUNDED, NOT_ABOUT, NOT_VISIBLE, READ, WEAK, Grounding
from vlm_demo.contracts.ocr import ReadWord
from vlm_demo.errors import VlmDemoError
from vlm_demo.explain.calibration import LEAST, THRESHOLDS, Calibration, Evidence, Limits, as_row
from vlm_demo.explain.methods import BY_NAME, MapInputs
from vlm_demo.explain.quoted import others, quoted, read_words, without
from vlm_demo.words import bare, tells

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer
    from vlm_demo.explain.teacher_forcing import TeacherForcing

HOT = 0.1  # the share of the picture's patches that counts as hot
SURE = 0.5  # a token of more than this probability is the likeliest
UNKNOWN = "unknown"  # what the evidence-only rule asks for
SAYS_UNKNOWN = re.compile(
    r"((it|this|that)( is|'s) )?(unknown|unclear|not (clear|visible|readable|legible))"
    r"|(i|we|you) (cannot|can not|can't|could not|couldn't|do not|don't) (know|see|tell|say|read)\b.*"
    r"|(it|this|that) (cannot|can not|can't) be (seen|read|told|said)\b.*"
)
SAYS_YES_NO = re.compile(r"(yes|no|true|false)\b.*")
SAYS_NUMBER = re.compile(r"\d+|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve")
SAYS_NONE = re.compile(r"none|nothing|zero|0|(no|there (is|are) (no|none|nothing))\b.*")


def gather(answer: Answer, model: TeacherForcing) -> Evidence:
    """The evidence for an answer with a trace and at least one word: one more pass over three versions of the picture,
    one over a blank one, and where the answer repeats words that OCR read, one without them and one without others.

    Of several pictures the one that was looked at most is tried; blank are all.
    """
    trace = answer.trace
    assert trace is not None
    # 1) the picture: its hottest patches, as many others, all of it
    steps = sorted({step for word in answer.words for step in answer.steps(word)})
    ends = np.cumsum(trace.counts)
    looked = trace.image[steps].astype(np.float32).sum((0, 1, 2))
    image = int(np.argmax([looked[end - count : end].sum() for end, count in zip(ends, trace.counts, strict=True)]))
    hot, elsewhere = _hot(answer, image)
    hidden = model.hiding(answer, image, np.stack([hot, elsewhere, np.ones_like(hot)]))
    hot_fall, other_fall, whole_fall = _falls(answer, steps, hidden.logs)
    # 2) neither picture nor text
    telling = _telling(answer, answer.words)
    blank = model.retelling(answer, (), blank=True)
    moved = float(np.abs(blank.logs[0, telling] - _own(answer, telling)).mean())
    # 3) the text: the words that the answer repeats, as many others
    text_fall = between_fall = 0.0
    text_turned = False
    quote = quoted(answer.words, answer.ocrs)
    if quote:
        repeated = _telling(answer, quote.words)
        said = model.retelling(answer, without(answer.ocrs, quote.places))
        (text_fall,), text_turned = _falls(answer, repeated, said.logs), _turned(answer, repeated, said.likeliest[0])
        if between := others(answer.ocrs, quote.places):
            (between_fall,) = _falls(answer, repeated, model.retelling(answer, without(answer.ocrs, between)).logs)
    text = {bare(word.text) for result in answer.ocrs for word in result.words}
    return Evidence(
        hot=hot_fall,
        elsewhere=other_fall,
        whole=whole_fall,
        certain=float(np.exp(_own(answer, steps).mean())),
        share=_share(answer, steps) or 0.0,
        match=(_match(answer, image, model) or 0.0),
        read=float(np.mean([bare(word.text) in text for word in answer.words])) if text else 0.0,
        text=text_fall,
        other=between_fall,
        yes_no=float(SAYS_YES_NO.fullmatch(_folded(answer.text)) is not None),
        number=float(SAYS_NUMBER.fullmatch(_folded(answer.text)) is not None),
        blank=float(1 - np.exp(-moved)),
        turned=_turned(answer, telling, hidden.likeliest[0]),
        text_turned=text_turned,
        blank_turned=_turned(answer, telling, blank.likeliest[0]),
    )


def judge(answer: Answer, model: TeacherForcing, calibration: Calibration | None) -> Grounding:
    """The badge of an answer.

    Raises:
        VlmDemoError: no attention was recorded, so it is not known which patches were looked at.
    """
    if answer.trace is None:
        raise VlmDemoError("No attention was recorded for this answer: choose a model that can explain itself.")
    if not answer.words or says_unknown(answer):
        return Grounding(NOT_VISIBLE, 0.0, None, None, None, "The answer itself says that this can't be seen.")
    quote = quoted(answer.words, answer.ocrs)
    return badge(
        gather(answer, model),
        calibration,
        share_known=answer.trace.text is not None,
        match_known=model.judge is not None,
        none=says_none(answer),
        quote=quote.text if quote else "",
        words=read_words(quote, answer) if quote else (),
    )


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


def says_unknown(answer: Answer) -> bool:
    """Whether the answer is that nothing can be said."""
    return SAYS_UNKNOWN.fullmatch(_folded(answer.text)) is not None


def says_none(answer: Answer) -> bool:
    """Whether the answer is no, or that there is none. A blank picture holds none of anything, so that it gets the same
    answer to a question about the picture, too."""
    return SAYS_NONE.fullmatch(_folded(answer.text)) is not None


def _hot(answer: Answer, image: int) -> tuple[np.ndarray, np.ndarray]:
    """bool [patches] twice: the hottest patches of the words' default maps together, and as many others."""
    trace, view = answer.trace, answer.views[image]
    assert trace is not None
    method = BY_NAME[trace.settings.method]
    maps = [method.cells(MapInputs(answer, tuple(answer.steps(word)), image, trace.settings)) for word in answer.words]
    cells = np.mean(maps, axis=0)
    shown = np.flatnonzero(inside(view))
    count = max(1, round(HOT * len(shown)))
    order = shown[np.argsort(-cells[shown], kind="stable")]
    hot, others = np.zeros(len(cells), bool), np.zeros(len(cells), bool)
    hot[order[:count]] = True
    rest = order[count:]
    others[np.random.default_rng(0).permutation(rest)[:count]] = True
    return hot, others


def _own(answer: Answer, steps: Sequence[int]) -> np.ndarray:
    """float [steps], the logarithms of the probabilities with which the tokens were written."""
    return np.log([max(answer.tokens[step].probability, 1e-12) for step in steps])


def _falls(answer: Answer, steps: Sequence[int], logs: np.ndarray) -> list[float]:
    """How much of the probability of an average one of the tokens falls away under each change, 0..1."""
    fell = logs[:, list(steps)].mean(1) - _own(answer, steps).mean()
    return [float(fall) for fall in 1 - np.exp(np.minimum(fell, 0))]


def _turned(answer: Answer, steps: Sequence[int], likeliest: np.ndarray) -> bool:
    return any(answer.tokens[step].probability > SURE and not likeliest[step] for step in steps)


def _telling(answer: Answer, words: Sequence[Word]) -> list[int]:
    """The tokens of the content words, or of all where there are none."""
    content = [word for word in words if tells(bare(word.text))] or words
    return sorted({step for word in content for step in answer.steps(word)})


def _share(answer: Answer, steps: list[int]) -> float | None:
    trace = answer.trace
    if trace is None or trace.text is None:
        return None
    return float(trace.image[steps].astype(np.float32).sum(-1).mean())


def _match(answer: Answer, image: int, model: TeacherForcing) -> float | None:
    return None if model.judge is None else model.judge.match(answer.views[image], answer.text)


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
