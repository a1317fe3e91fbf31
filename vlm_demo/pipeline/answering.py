"""Answering: a request → its answer, all steps in one place.

    view, OCR      ``inputs``: uploads → views and text, without the model
    prompt … llm   of the part that answers: ``staged`` or ``whole``
    answer         what came of it, with a checklist; it draws its own heatmaps

Each step is given what those before it made, and changes none of it.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import replace

from vlm_demo.checks import checklist
from vlm_demo.contracts import Answer, Timings
from vlm_demo.contracts.engine import Event, Request
from vlm_demo.explain import methods
from vlm_demo.pipeline.composition import ComposedModel
from vlm_demo.pipeline.decoding import GenerationOutcome
from vlm_demo.pipeline.inputs import (
    Inputs,
    Turns,
    bounded,
    conversation_of,
    open_views,
    read_text,
    read_text_and_encode,
    result_of,
)
from vlm_demo.pipeline.staged import StagedModel
from vlm_demo.runtime.detokenizer import words_of
from vlm_demo.runtime.stage_clock import StageClock
from vlm_demo.stages import ocr


def answer_events(
    composed: ComposedModel, request: Request, turn: Turns, cuts_repetition: bool, together: int = 1
) -> Generator[Event, None, None]:
    """From the uploads to the answer. The consumer's time between two events is not measured.

    Args:
        turn: entered for as long as the model is needed; the wait for it is not measured.
        cuts_repetition: whether an end that only repeats is cut off.
        together: how many answers that are written at a time may be computed together, this one among them.
    Yields:
        StageEvents and TokenEvents in the order of the steps, and the Answer.
    Raises:
        BadImage, BadQuestion, OcrUnavailable, UnsupportedModel: one sentence for the person.
        Stopped: ``request.cancelled()`` turned True before the first token.
    """
    clock = StageClock()
    with closing(_events(composed, request, clock, turn, cuts_repetition, together)) as events:
        for event in events:
            yielded_at = time.perf_counter()
            yield event
            clock.pause(time.perf_counter() - yielded_at)


def _events(
    composed: ComposedModel, request: Request, clock: StageClock, turn: Turns, cuts_repetition: bool, together: int
) -> Generator[Event, None, None]:
    """The steps themselves. A duration is measured before its event is yielded, never after."""
    model = composed.part_that_answers()
    # 1) view, without the model
    opened = yield from open_views(request, bounded(composed.view, request), clock)
    # 2) OCR, without the model too, so that the encoder may work meanwhile
    if request.ocr and isinstance(model, StagedModel):
        inputs = yield from read_text_and_encode(request, opened, composed.reader, model.encode, clock)
    else:
        inputs = yield from read_text(request, opened, composed.reader, clock)
    with ExitStack() as stack:
        with clock.left_out():
            stack.enter_context(turn())
        # 3) to 7): prompt, encoder, bridge, prefill and decode
        outcome = yield from model.write(request, inputs, clock, cuts_repetition, together)
    # 8) the answer, which draws its own heatmaps
    yield _answer(composed, request, inputs, outcome, clock)


def read_answer(composed: ComposedModel, request: Request, text: str, turn: Turns) -> Answer:
    """The answer that ``text`` would be to a request: nothing is generated, all its tokens are read in one pass.

    Raises:
        BadQuestion: question or text are empty or too long.
        UnsupportedModel: the model writes no answers, or its stages are not known.
    """
    model = composed.stages()
    ids = model.answer_ids(text)
    clock = StageClock()
    opened = result_of(open_views(request, bounded(composed.view, request), clock))
    inputs = result_of(read_text(request, opened, composed.reader, clock))
    with ExitStack() as stack:
        with clock.left_out():
            stack.enter_context(turn())
        outcome = model.read(request, inputs, ids, clock)
    return _answer(composed, request, inputs, outcome, clock)


def _answer(
    composed: ComposedModel, request: Request, inputs: Inputs, outcome: GenerationOutcome, clock: StageClock
) -> Answer:
    written = outcome.written
    answer = Answer(
        text=written.text,
        tokens=written.tokens,
        words=words_of(written.tokens),
        prompt=outcome.prompt,
        views=tuple(view.geometry for view in inputs.views),
        ocr=ocr.merged(outcome.ocrs),
        ocrs=outcome.ocrs,
        timings=Timings(**clock.seconds, total=clock.total),
        memory=composed.memory(),
        model=composed.name,
        stopped=written.stopped,
        cut=written.cut,
        full=written.full,
        trace=outcome.trace,
        drawer=methods.RECORDED,
        conversation=conversation_of(request),
    )
    checks = checklist.first(answer, outcome.placed, composed.on_this_machine(), composed.legibility)
    return replace(answer, checks=checks)
