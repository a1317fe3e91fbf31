"""Inputs: a request's uploads → views, the text that is read in them, and what the prompt is made of.

No model is needed here but for the encoder, which may work while text is read; other requests may compute meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from vlm_demo.contracts import Conversation, OcrResult, PatchFeatures, Prompt, StageEvent
from vlm_demo.contracts.engine import Cancelled, Request
from vlm_demo.contracts.events import OcrFacts
from vlm_demo.errors import BadImage, BadQuestion
from vlm_demo.images.decode import share_of_pixels
from vlm_demo.images.open import Source
from vlm_demo.pipeline.facts import view_facts
from vlm_demo.runtime.cancellation import check
from vlm_demo.runtime.pixel_view import PixelView
from vlm_demo.runtime.stage_clock import StageClock
from vlm_demo.stages import ocr
from vlm_demo.stages.ocr import OcrReader

Result = TypeVar("Result")
Turns = Callable[[], AbstractContextManager[object]]  # each entered for as long as the model is needed


@dataclass(frozen=True)
class Encoded:
    """What the vision encoder made of some pictures while their text was read: the patch features of each, of how many
    they were cached, and the encoder's own seconds."""

    patches: tuple[PatchFeatures, ...]
    cached: int
    seconds: float


@dataclass(frozen=True)
class Inputs:
    """What is known of a request's pictures before the model is asked.

    Attributes:
        views: all pictures, those of the history first.
        ocrs: the text of the last ones of them, each picture apart; empty with OCR off.
        encoded: what the encoder made of them already; None = it has not begun.
    """

    views: tuple[PixelView, ...]
    ocrs: tuple[OcrResult, ...] = ()
    encoded: Encoded | None = None


def as_several(image: Source | Sequence[Source] | None) -> tuple[Source, ...]:
    """One picture or several as several; no picture as none."""
    if image is None:
        return ()
    if isinstance(image, Sequence) and not isinstance(image, str | bytes | bytearray | memoryview):
        return tuple(image)
    return (image,)


def pictures_of(request: Request) -> tuple[Any, ...]:
    """All pictures of a request, those of the history first."""
    return (*(source for turn in request.history for source in turn.images), *request.images)


def bounded(view: Callable[..., PixelView], request: Request) -> Callable[[Any, str], PixelView]:
    """What opens a request's pictures: all together keep ``images.decode.REQUEST_PIXELS`` at most, so each of many is
    smaller. ``view`` takes what a ``stages.view.ViewMaker`` takes."""
    most_pixels = share_of_pixels(len(pictures_of(request)))
    return partial(view, cancelled=request.cancelled, most_pixels=most_pixels)


def open_views(
    request: Request, view: Callable[[Any, str], PixelView], clock: StageClock
) -> Generator[StageEvent, None, Inputs]:
    """Open the pictures as the model will see them, those of the history first.

    Yields:
        The StageEvent view.
    Raises:
        BadQuestion, BadImage: one sentence for the person.
        Stopped: ``request.cancelled()`` turned True.
    """
    if not request.question.strip():
        raise BadQuestion("The question is empty: type what you want to know about the picture.")
    check(request.cancelled)
    began = time.perf_counter()
    views = tuple(_opened(source, request, view) for source in pictures_of(request))
    if not views:
        raise BadImage("There is no picture: give at least one.")
    yield clock.since("view", began, view_facts(views))
    return Inputs(views)


def _opened(source: Any, request: Request, view: Callable[[Any, str], PixelView]) -> PixelView:
    check(request.cancelled)
    return view(source, request.visitor)


def read_text(
    request: Request, opened: Inputs, reader: OcrReader, clock: StageClock
) -> Generator[StageEvent, None, Inputs]:
    """Read the pictures' text where it is asked for.

    Yields:
        The StageEvent ocr, if it is.
    Raises:
        OcrUnavailable: one sentence for the person.
        Stopped: ``request.cancelled()`` turned True.
    """
    if not request.ocr:
        return opened
    ocrs, seconds = _read(request, opened.views, reader, request.cancelled)
    yield clock.done("ocr", seconds, _ocr_facts(ocrs))
    return replace(opened, ocrs=ocrs)


def read_text_and_encode(
    request: Request,
    opened: Inputs,
    reader: OcrReader,
    encode: Callable[[Sequence[PixelView], Cancelled | None], Encoded],
    clock: StageClock,
) -> Generator[StageEvent, None, Inputs]:
    """As `read_text`, in a separate thread, while ``encode`` runs here. The clock counts the longer one of the two.

    That takes no turn with the model: a pass of the encoder comes between those of others, and between its layers it
    lets their tokens go first (``runtime.cancellation``).

    Yields:
        The StageEvent ocr; that of the encoder comes at its place, after the prompt.
    """
    began = time.perf_counter()
    abandoned = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        ocr_task = pool.submit(
            _read, request, opened.views, reader, lambda: abandoned.is_set() or _is_cancelled(request)
        )
        try:
            encoded = encode(opened.views, request.cancelled)
        except BaseException:
            abandoned.set()  # what is read is of no use any more
            raise
        ocrs, seconds = ocr_task.result()
    clock.pause(time.perf_counter() - began - max(seconds, encoded.seconds))
    yield clock.done("ocr", seconds, _ocr_facts(ocrs))
    return replace(opened, ocrs=ocrs, encoded=encoded)


def _read(
    request: Request, views: Sequence[PixelView], reader: OcrReader, cancelled: Cancelled | None
) -> tuple[tuple[OcrResult, ...], float]:
    """The text of the question's pictures, or in a follow-up without any, of the earlier ones; and the seconds."""
    began = time.perf_counter()
    pictures = views[len(views) - len(request.images) :] or views
    ocrs = tuple(reader(picture.image, request.ocr_settings, cancelled, request.visitor) for picture in pictures)
    return ocrs, time.perf_counter() - began


def _is_cancelled(request: Request) -> bool:
    return request.cancelled is not None and request.cancelled()


def _ocr_facts(ocrs: Sequence[OcrResult]) -> OcrFacts:
    words, cached = sum(len(result.words) for result in ocrs), sum(result.cached for result in ocrs)
    return OcrFacts(words, len(ocrs), cached)


def conversation_of(request: Request) -> Conversation:
    """What a request asks, without its pictures."""
    history = tuple(replace(turn, images=(None,) * len(turn.images)) for turn in request.history)
    return Conversation(request.question, request.evidence_only, history, request.system)


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
