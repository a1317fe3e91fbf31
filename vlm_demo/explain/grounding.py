"""Grounding: what does an answer rest on? One badge from how its probability changes when that is removed.

The patches that the map marks are hidden, the words that OCR read are taken out of the prompt, and all of both. An
answer rests on what it loses probability without, and on nothing else. The weights of the evidence are fitted on
answers that are known to be right or wrong (`python -m vlm_demo evaluate FOLDER --grounding --fit`) and stored with the
checkpoint; one without such a fit is judged by the evidence as it is, and the sentence says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vlm_demo.checks.calibration import Calibration
from vlm_demo.checks.grounding_badge import HOT, badge, says_none, says_number, says_unknown, says_yes_no
from vlm_demo.contracts import Evidence, Word
from vlm_demo.contracts.geometry import inside
from vlm_demo.contracts.grounding import NOT_VISIBLE, Grounding
from vlm_demo.errors import VlmDemoError
from vlm_demo.explain.methods import BY_NAME, MapInputs
from vlm_demo.explain.quoted import others, quoted, read_words, without
from vlm_demo.words import bare, is_content_word

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer
    from vlm_demo.explain.teacher_forcing import TeacherForcing

SURE = 0.5  # a token of more than this probability is the likeliest


def gather(answer: Answer, model: TeacherForcing) -> Evidence:
    """The evidence for an answer with a trace and at least one word: one more pass over three versions of the picture,
    one over a blank one, and where the answer repeats words that OCR read, one without them and one without others.

    Of several pictures only the one with most attention is masked; all are blanked.
    """
    trace = answer.trace
    assert trace is not None
    # 1) the picture: its hottest patches, as many others, all of it
    steps = sorted({step for word in answer.words for step in answer.steps(word)})
    ends = np.cumsum(trace.counts)
    attention = trace.image[steps].astype(np.float32).sum((0, 1, 2))
    image = int(np.argmax([attention[end - count : end].sum() for end, count in zip(ends, trace.counts, strict=True)]))
    hot, elsewhere = _hottest_patches(answer, image)
    hidden = model.with_hidden_patches(answer, image, np.stack([hot, elsewhere, np.ones_like(hot)]))
    hot_drop, other_drop, whole_drop = _probability_drops(answer, steps, hidden.logprobs)
    # 2) neither picture nor text
    content_steps = _content_steps(answer, answer.words)
    blank = model.with_other_text(answer, (), blank=True)
    change = float(np.abs(blank.logprobs[0, content_steps] - _written_logprobs(answer, content_steps)).mean())
    # 3) the text: the words that the answer repeats, as many others
    text_drop = between_drop = 0.0
    text_turned = False
    quote = quoted(answer.words, answer.ocrs)
    if quote:
        repeated = _content_steps(answer, quote.words)
        reread = model.with_other_text(answer, without(answer.ocrs, quote.places))
        (text_drop,) = _probability_drops(answer, repeated, reread.logprobs)
        text_turned = _likeliest_changed(answer, repeated, reread.likeliest[0])
        if other_places := others(answer.ocrs, quote.places):
            reread = model.with_other_text(answer, without(answer.ocrs, other_places))
            (between_drop,) = _probability_drops(answer, repeated, reread.logprobs)
    text = {bare(word.text) for result in answer.ocrs for word in result.words}
    return Evidence(
        hot=hot_drop,
        elsewhere=other_drop,
        whole=whole_drop,
        certain=float(np.exp(_written_logprobs(answer, steps).mean())),
        share=_share(answer, steps) or 0.0,
        match=(_match(answer, image, model) or 0.0),
        read=float(np.mean([bare(word.text) in text for word in answer.words])) if text else 0.0,
        text=text_drop,
        other=between_drop,
        yes_no=float(says_yes_no(answer)),
        number=float(says_number(answer)),
        blank=float(1 - np.exp(-change)),
        turned=_likeliest_changed(answer, content_steps, hidden.likeliest[0]),
        text_turned=text_turned,
        blank_turned=_likeliest_changed(answer, content_steps, blank.likeliest[0]),
    )


def judge(answer: Answer, model: TeacherForcing, calibration: Calibration | None) -> Grounding:
    """The badge of an answer.

    Raises:
        VlmDemoError: no attention was recorded, so the attended patches are unknown.
    """
    if answer.trace is None:
        raise VlmDemoError("No attention was recorded for this answer: choose a model that can explain itself.")
    if not answer.words or says_unknown(answer.text):
        return Grounding(NOT_VISIBLE, 0.0, None, None, None, "The answer itself says that this can't be seen.")
    quote = quoted(answer.words, answer.ocrs)
    return badge(
        gather(answer, model),
        calibration,
        share_known=answer.trace.text is not None,
        match_known=model.image_text_matcher is not None,
        none=says_none(answer),
        quote=quote.text if quote else "",
        words=read_words(quote, answer) if quote else (),
    )


def _hottest_patches(answer: Answer, image: int) -> tuple[np.ndarray, np.ndarray]:
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


def _written_logprobs(answer: Answer, steps: Sequence[int]) -> np.ndarray:
    """float [steps], the logarithms of the probabilities with which the tokens were written."""
    return np.log([max(answer.tokens[step].probability, 1e-12) for step in steps])


def _probability_drops(answer: Answer, steps: Sequence[int], logprobs: np.ndarray) -> list[float]:
    """How much of the probability of an average one of the tokens is lost under each change, 0..1."""
    changes = logprobs[:, list(steps)].mean(1) - _written_logprobs(answer, steps).mean()
    return [float(drop) for drop in 1 - np.exp(np.minimum(changes, 0))]


def _likeliest_changed(answer: Answer, steps: Sequence[int], likeliest: np.ndarray) -> bool:
    return any(answer.tokens[step].probability > SURE and not likeliest[step] for step in steps)


def _content_steps(answer: Answer, words: Sequence[Word]) -> list[int]:
    """The tokens of the content words, or of all where there are none."""
    content = [word for word in words if is_content_word(bare(word.text))] or words
    return sorted({step for word in content for step in answer.steps(word)})


def _share(answer: Answer, steps: list[int]) -> float | None:
    trace = answer.trace
    if trace is None or trace.text is None:
        return None
    return float(trace.image[steps].astype(np.float32).sum(-1).mean())


def _match(answer: Answer, image: int, model: TeacherForcing) -> float | None:
    return (
        None if model.image_text_matcher is None else model.image_text_matcher.match(answer.views[image], answer.text)
    )
