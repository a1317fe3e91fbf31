"""Live checks: what of the checklist costs more than the answer did: reading the picture, its badge, a blank picture.

Asks an engine again; knows no page and no model.
"""

from __future__ import annotations

import math
from dataclasses import replace

from PIL import Image

from vlm_demo.checks import checklist, hallucination, small_text
from vlm_demo.contracts import DEFAULT_OCR, Answer, BlankAnswer, Check, Grounding, OcrResult, OcrSettings
from vlm_demo.contracts.checks import HALLUCINATION, OPEN, SMALL_TEXT, Value
from vlm_demo.contracts.engine import Cancelled, Engine, Request, answered
from vlm_demo.errors import OcrUnavailable, Stopped, VlmDemoError

BLANK = (128, 128, 128)
MORE = 8  # tokens that the answer to a blank picture may be longer than the real one


def complete(
    engine: Engine,
    answer: Answer,
    *,
    grounding: Grounding | None = None,
    badge: bool = True,
    blank: bool = False,
    settings: OcrSettings = DEFAULT_OCR,
    cancelled: Cancelled | None = None,
) -> tuple[Check, ...]:
    """The checklist of one of the engine's answers with what was open in it.

    Args:
        answer: with its pictures as they were uploaded.
        grounding: its badge, where it is there.
        badge: whether it is asked for where it is not.
        blank: whether the question is asked about a blank picture too, which costs another answer.
        settings: how the pictures' text is read.
        cancelled: asked while this is computed.
    Raises:
        Stopped: ``cancelled()`` turned True.
    """
    if grounding is None and badge and engine.capabilities.explains:
        grounding = _badge(engine, answer, cancelled)
    blank_answer = about_blank(engine, answer, cancelled) if blank else None
    hallucination_check = of_hallucination(answer, grounding, blank_answer)
    return checklist.replaced(answer.checks, _small_text(engine, answer, settings, cancelled), hallucination_check)


def of_pictures(
    engine: Engine,
    answer: Answer,
    grounding: Grounding | None,
    settings: OcrSettings = DEFAULT_OCR,
    cancelled: Cancelled | None = None,
) -> tuple[Check, ...]:
    """The checklist with what is known of the pictures' text and of a badge that is there: the model is not asked
    again.

    Raises:
        Stopped: ``cancelled()`` turned True.
    """
    small_text_check = _small_text(engine, answer, settings, cancelled)
    return checklist.replaced(
        answer.checks, small_text_check, of_hallucination(answer, grounding, _known_blank(answer))
    )


def of_hallucination(answer: Answer, grounding: Grounding | None, blank: BlankAnswer | None) -> Check:
    """``hallucination.check`` of an answer."""
    return hallucination.check(_evidence_only(answer), answer.text, grounding, blank, answer.unfinished)


def _known_blank(answer: Answer) -> BlankAnswer | None:
    """What the checks hold of a blank picture that was asked about before."""
    values = next((check.values for check in answer.checks if check.name == HALLUCINATION), {})
    text, *likely = (values.get(name) for name in ("blank_answer", "with_picture", "with_blank"))
    if not isinstance(text, str):
        return None
    return BlankAnswer(text, *(value if isinstance(value, float) else None for value in likely))


def about_blank(engine: Engine, answer: Answer, cancelled: Cancelled | None = None) -> BlankAnswer:
    """Ask the same question about grey pictures of the same sizes, and how likely the real answer is there.

    Raises:
        VlmDemoError: the engine no longer knows what was asked, or can't answer.
        Stopped: ``cancelled()`` turned True.
    """
    if answer.conversation is None:
        raise VlmDemoError("What was asked is not known any more: ask again first.")
    request = _blank_request(answer, cancelled)
    blank_answer = answered(engine.stream(request))
    if blank_answer.stopped:
        raise Stopped("Stopped.")
    if not engine.capabilities.logprobs or not all(token.probability for token in answer.tokens):
        return BlankAnswer(blank_answer.text)
    without = None
    if answer.text.strip() and engine.capabilities.explains:
        without = _likely(engine.explain(request, answer.text))
    return BlankAnswer(blank_answer.text, _likely(answer), without)


def _blank_request(answer: Answer, cancelled: Cancelled | None) -> Request:
    """The question with a grey picture in place of each picture, and without any text that was read."""
    conversation = answer.conversation
    assert conversation is not None
    pictures = (Image.new("RGB", view.size, BLANK) for view in answer.views)
    history = tuple(replace(turn, images=tuple(next(pictures) for _ in turn.images)) for turn in conversation.history)
    return Request(
        tuple(pictures),
        conversation.question,
        evidence_only=conversation.evidence_only,
        max_new_tokens=len(answer.tokens) + MORE,
        history=history,
        cancelled=cancelled,
        system=conversation.system,
        visitor=answer.view.visitor,
    )


def _likely(answer: Answer) -> float:
    """The geometric mean of the tokens' probabilities."""
    logs = [math.log(max(token.probability, 1e-9)) for token in answer.tokens]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0


def _badge(engine: Engine, answer: Answer, cancelled: Cancelled | None) -> Grounding | None:
    try:
        return engine.grounding(answer, cancelled=cancelled)
    except Stopped:
        raise
    except VlmDemoError:  # nothing was recorded
        return None


def _evidence_only(answer: Answer) -> bool:
    return bool(answer.conversation and answer.conversation.evidence_only)


def _small_text(engine: Engine, answer: Answer, settings: OcrSettings, cancelled: Cancelled | None) -> Check:
    """The check of the pictures' text, which is read now where it was not yet."""
    current = next((check for check in answer.checks if check.name == SMALL_TEXT), None)
    if current and current.verdict != OPEN:
        return current
    before: Value = current.values["reads_from"] if current else None
    reads_from = math.inf if before == small_text.NOTHING else before
    assert reads_from is None or isinstance(reads_from, float)
    unavailable = ""
    read: list[OcrResult | None] = [None] * len(answer.views)
    try:
        known = (*[None] * (len(answer.views) - len(answer.ocrs)), *answer.ocrs)
        read = [
            result or engine.read_text(view, settings, cancelled=cancelled)
            for view, result in zip(answer.views, known, strict=True)
        ]
    except OcrUnavailable as error:
        unavailable = str(error)
    return small_text.check(answer.views, read, ocr=bool(answer.ocrs), reads_from=reads_from, unavailable=unavailable)
