"""Grounding: does an answer rest on the picture? One badge from what happens when the looked-at patches are hidden.

Causal evidence first, attention second. What the evidence is worth is fitted on answers that are known to be right or
wrong (`python -m vlm_demo evaluate FOLDER --grounding --fit`) and kept beside the weights; a checkpoint without such a
fit is judged by the evidence as it stands, and the sentence says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlm_demo.errors import VlmDemoError
from vlm_demo.explain.calibration import THRESHOLDS, Calibration, Evidence, as_row
from vlm_demo.explain.heatmap import inside
from vlm_demo.explain.methods import BY_NAME, Request

if TYPE_CHECKING:
    from vlm_demo.answer import Answer
    from vlm_demo.explain.rereading import Rereading

GROUNDED, WEAK, NOT_VISIBLE = "grounded", "weak", "not visible"
LEVELS = {GROUNDED: "Rests on the picture", WEAK: "Rests weakly on the picture", NOT_VISIBLE: "Not visible"}
HOT = 0.1  # the share of the picture's patches that counts as hot
UNKNOWN = "unknown"  # what the evidence-only rule asks for


@dataclass(frozen=True)
class Grounding:
    """One answer's badge.

    Attributes:
        level: a key of ``LEVELS``.
        score: 0..1, where the checkpoint is calibrated the probability that the answer is right and visible.
        drop: 0..1, how much of the answer's probability falls away with the looked-at patches; None where nothing was
            tried.
        share: 0..1, the attention on the pictures; None where that can't be told.
        match: 0..1, how well the answer fits the picture; None where the model can't compare.
        sentence: why, for a person.
    """

    level: str
    score: float
    drop: float | None
    share: float | None
    match: float | None
    sentence: str


def gather(answer: Answer, model: Rereading) -> Evidence:
    """The evidence for an answer with a trace and at least one word: one more pass over three versions of the picture.

    Of several pictures the one that was looked at most is tried.
    """
    trace = answer.trace
    assert trace is not None
    steps = sorted({step for word in answer.words for step in answer.steps(word)})
    ends = np.cumsum(trace.counts)
    looked = trace.image[steps].astype(np.float32).sum((0, 1, 2))
    image = int(np.argmax([looked[end - count : end].sum() for end, count in zip(ends, trace.counts, strict=True)]))
    hot, elsewhere = _hot(answer, image)
    said = model.likelihoods(answer, image, np.stack([hot, elsewhere, np.ones_like(hot)]))[:, steps].mean(1)
    own = float(np.mean([np.log(max(answer.tokens[step].probability, 1e-12)) for step in steps]))
    hot_fall, other_fall, whole_fall = (float(fall) for fall in 1 - np.exp(np.minimum(said - own, 0)))
    text = " ".join(result.text for result in answer.ocrs).casefold().split()
    bare = [_bare(word.text) for word in answer.words]
    return Evidence(
        hot=hot_fall,
        elsewhere=other_fall,
        whole=whole_fall,
        certain=float(np.exp(own)),
        share=_share(answer, steps) or 0.0,
        match=(_match(answer, image, model) or 0.0),
        read=float(np.mean([word in {_bare(read) for read in text} for word in bare])) if text else 0.0,
    )


def judge(answer: Answer, model: Rereading, calibration: Calibration | None) -> Grounding:
    """The badge of an answer.

    Raises:
        VlmDemoError: no attention was recorded, so it is not known which patches were looked at.
    """
    if answer.trace is None:
        raise VlmDemoError("No attention was recorded for this answer: choose a model that can explain itself.")
    if not answer.words or says_unknown(answer):
        return Grounding(NOT_VISIBLE, 0.0, None, None, None, "The answer itself says that this can't be seen.")
    found = gather(answer, model)
    return badge(found, calibration, share_known=answer.trace.text is not None, match_known=model.judge is not None)


def badge(
    found: Evidence, calibration: Calibration | None, share_known: bool = True, match_known: bool = True
) -> Grounding:
    """The badge that evidence earns. Uncalibrated, the score is what falls away at most."""
    if calibration is None:
        low, high = THRESHOLDS
        score = max(found.hot, found.whole)
    else:
        low, high = calibration.thresholds
        score = float(calibration.score(as_row(found)[None])[0])
    level = GROUNDED if score >= high else NOT_VISIBLE if score < low else WEAK
    share, match = found.share if share_known else None, found.match if match_known else None
    return Grounding(level, score, found.hot, share, match, _sentence(found, score, calibration, share, match))


def says_unknown(answer: Answer) -> bool:
    """Whether the answer is that nothing can be said."""
    return _bare(answer.text) == UNKNOWN


def _hot(answer: Answer, image: int) -> tuple[np.ndarray, np.ndarray]:
    """bool [patches] twice: the hottest patches of the words' default maps together, and as many others."""
    trace, view = answer.trace, answer.views[image]
    assert trace is not None
    method = BY_NAME[trace.settings.method]
    maps = [method.cells(Request(answer, tuple(answer.steps(word)), image, trace.settings)) for word in answer.words]
    cells = np.mean(maps, axis=0)
    shown = np.flatnonzero(inside(view))
    count = max(1, round(HOT * len(shown)))
    order = shown[np.argsort(-cells[shown], kind="stable")]
    hot, others = np.zeros(len(cells), bool), np.zeros(len(cells), bool)
    hot[order[:count]] = True
    rest = order[count:]
    others[np.random.default_rng(0).permutation(rest)[:count]] = True
    return hot, others


def _share(answer: Answer, steps: list[int]) -> float | None:
    trace = answer.trace
    if trace is None or trace.text is None:
        return None
    return float(trace.image[steps].astype(np.float32).sum(-1).mean())


def _match(answer: Answer, image: int, model: Rereading) -> float | None:
    return None if model.judge is None else model.judge.match(answer.views[image], answer.text)


def _bare(text: str) -> str:
    return text.strip(" \n\t.,;:!?\"'()").casefold()


def _sentence(
    found: Evidence, score: float, calibration: Calibration | None, share: float | None, match: float | None
) -> str:
    parts = [
        f"Blurring the {HOT:.0%} of the picture that the map marks takes {found.hot:.0%} of the answer's probability, "
        f"blurring as much elsewhere {found.elsewhere:.0%}, blurring all of it {found.whole:.0%}."
    ]
    if share is not None:
        parts.append(f"{share:.0%} of the attention rested on the picture.")
    if match is not None:
        parts.append(f"The answer fits the picture to {match:.0%}, by the part of the model that compares them.")
    if found.read:
        parts.append(f"{found.read:.0%} of its words stand in the text that was read off the picture.")
    if calibration is None:
        parts.append("How often such answers are right was not measured for this model.")
    else:
        parts.append(f"Of held-out answers with evidence like this, about {score:.0%} were right and visible.")
    return " ".join(parts)
