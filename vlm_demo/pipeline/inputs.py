"""Inputs: a request's uploads → views, the text that is read in them, and what the prompt is made of.

No model is needed here, so other requests may compute meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from vlm_demo.contracts import Asked, OcrResult, Prompt, StageEvent
from vlm_demo.contracts.engine import Request
from vlm_demo.contracts.events import OcrFacts
from vlm_demo.errors import BadImage, BadQuestion
from vlm_demo.pipeline.facts import view_facts
from vlm_demo.runtime.cancellation import check
from vlm_demo.runtime.pixel_view import PixelView
from vlm_demo.runtime.stage_clock import StageClock
from vlm_demo.stages import ocr
from vlm_demo.stages.ocr import OcrReader

Result = TypeVar("Result")


@dataclass(frozen=True)
class Inputs:
    """What is known of a request's pictures before the model is asked.

    Attributes:
        views: all pictures, those of the history first.
        ocrs: the text of the last ones of them, each picture apart; empty with OCR off.
    """

    views: tuple[PixelView, ...]
    ocrs: tuple[OcrResult, ...]


def read_inputs(
    request: Request, view: Callable[[Any, str], PixelView], reader: OcrReader, clock: StageClock
) -> Generator[StageEvent, None, Inputs]:
    """Open the pictures as the model will see them, and read their text where it is asked for.

    Yields:
        The StageEvents view, and ocr if asked for.
    Raises:
        BadQuestion, BadImage, OcrUnavailable: one sentence for the person.
        Stopped: ``request.cancelled()`` turned True.
    """
    if not request.question.strip():
        raise BadQuestion("The question is empty: type what you want to know about the picture.")
    check(request.cancelled)
    # 1) view: the pictures of the history first
    began = time.perf_counter()
    earlier: list[Any] = [source for turn in request.history for source in turn.images]
    views = tuple(view(source, request.visitor) for source in (*earlier, *request.images))
    if not views:
        raise BadImage("There is no picture: give at least one.")
    yield clock.since("view", began, view_facts(views))

    # 2) OCR of the question's own pictures; in a follow-up without any, of the earlier ones
    ocrs: tuple[OcrResult, ...] = ()
    if request.ocr:
        began = time.perf_counter()
        asked_about = views[len(earlier) :] or views
        ocrs = tuple(
            reader(picture.image, request.ocr_settings, request.cancelled, request.visitor) for picture in asked_about
        )
        words, cached = sum(len(result.words) for result in ocrs), sum(result.cached for result in ocrs)
        yield clock.since("ocr", began, OcrFacts(words, len(ocrs), cached))
    return Inputs(views, ocrs)


def asked_in(request: Request) -> Asked:
    """What a request asks, without its pictures."""
    history = tuple(replace(turn, images=(None,) * len(turn.images)) for turn in request.history)
    return Asked(request.question, request.evidence_only, history, request.system)


def text_of(ocrs: Sequence[OcrResult]) -> str:
    """What was read in all pictures, as it goes into the prompt; empty where nothing was."""
    read = ocr.merged(ocrs)
    return read.text if read else ""


def with_pieces(prompt: Prompt, tokenizer: Any) -> Prompt:
    """The prompt with each of its tokens as the vocabulary writes it."""
    pieces = tokenizer.convert_ids_to_tokens(list(prompt.ids))
    return replace(prompt, pieces=tuple(piece or "" for piece in pieces))


def result_of(work: Generator[StageEvent, None, Result]) -> Result:
    """What a generator returns; its events are dropped."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
