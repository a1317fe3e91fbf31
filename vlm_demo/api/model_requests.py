"""Model requests: a question → the queue for the model → tokens as they come, then the answer with its extras.

Knows the service and its Engine, no protocol. Requests are stored nowhere here.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from vlm_demo import document_fields
from vlm_demo.api.problems import Refused
from vlm_demo.contracts import Answer, Check, Grounding, MapRequest, StageEvent, TokenEvent, Word
from vlm_demo.contracts.engine import Engine, Request, heatmaps
from vlm_demo.contracts.events import DecodeFacts, PrefillFacts
from vlm_demo.engines import live_checks
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import VlmDemoError
from vlm_demo.words import bare, is_content_word

MOST_MAPS = 32  # of one answer
PIXELS_AT_ONCE = 32_000_000  # of maps that are drawn together, in float32


@dataclass(frozen=True)
class RequestedExtras:
    """What is requested in addition to the answer's text.

    Attributes:
        words: words of the answer whose heatmaps are drawn, over every picture.
        all_words: draw the heatmaps of all its content words.
        method: a name of ``contracts.heatmap_methods.TABLE``; None = the checkpoint's default.
        grounding: measure whether the answer rests on the picture.
        checklist: what may be wrong with the answer, why, and what to do.
        blank: for the checklist, ask about a blank picture too, which costs another answer.
    """

    words: tuple[str, ...] = ()
    all_words: bool = False
    method: str | None = None
    grounding: bool = False
    checklist: bool = False
    blank: bool = False


NO_EXTRAS = RequestedExtras()


@dataclass(frozen=True, eq=False)
class Map:
    """Where the model looked for a word: ``png``, a grey PNG of the size of the picture ``image`` (counted from 0),
    black = 0, white = 1; None where it can't be drawn, and then ``problem`` says why."""

    word: str
    image: int
    png: bytes | None = None
    problem: str = ""

    @property
    def heat(self) -> np.ndarray | None:
        """The same as float32 [H, W] in 0..1, in the picture's pixels."""
        if self.png is None:
            return None
        return np.asarray(Image.open(io.BytesIO(self.png), formats=["PNG"]), np.float32) / 255


@dataclass(frozen=True, eq=False)
class RequestOutcome:
    """The result of one question.

    Attributes:
        answer: the answer.
        written: how many tokens were generated, those that were cut off included.
        known: how many of the prompt's tokens came from the prefix cache.
        stages: each stage's name and seconds.
        maps: the requested heatmaps.
        grounding: None where it was not requested, or can't be measured: ``no_grounding`` says why.
        checks: the checklist, if it was requested.
    """

    answer: Answer
    written: int
    known: int
    stages: tuple[tuple[str, float], ...] = ()
    maps: tuple[Map, ...] = ()
    grounding: Grounding | None = None
    no_grounding: str = ""
    checks: tuple[Check, ...] | None = None


def ask(
    service: ModelRegistry, request: Request, extras: RequestedExtras = NO_EXTRAS, model: str | None = None
) -> Generator[TokenEvent | RequestOutcome]:
    """Wait for the model, and have it answer.

    Args:
        service: whose queue the request waits in; ``request.cancelled`` ends the waiting too.
        model: the name of the requested model; None = whichever is loaded.
    Yields:
        TokenEvents, and the RequestOutcome as the last.
    Raises:
        Refused: another model is loaded; or it can't constrain its output to a format, or gives no alternative tokens.
        VlmDemoError: what `Engine.stream` raises; or no model could be loaded.
    """
    stages: list[StageEvent] = []
    request = replace(request, ocr_settings=service.ocr_settings)
    with service.engine(request.cancelled or (lambda: False)) as engine:
        if model not in (None, engine.name):
            raise not_loaded(str(model), engine.name)
        if request.sampling.schema is not None and not engine.capabilities.holds_json:
            sentence = "response_format can't be had: this model's decoder can't be held to a format."
            raise Refused(sentence, param="response_format")
        if request.sampling.alternatives and not engine.capabilities.alternatives:
            raise Refused("top_logprobs can't be had: this model tells no other tokens.", param="top_logprobs")
        stream: Any = engine.stream(request)
        with closing(stream):
            for event in stream:
                if isinstance(event, StageEvent):
                    stages.append(event)
                elif isinstance(event, TokenEvent):
                    yield event
                else:
                    answer = event
        service.record_pace(answer)
        outcome = _outcome(engine, answer, stages, extras, request)
    yield outcome


def explain(service: ModelRegistry, request: Request, text: str, extras: RequestedExtras) -> RequestOutcome:
    """The same for a given answer; nothing is generated.

    Raises:
        VlmDemoError: what `Engine.explain` raises; or no model could be loaded.
    """
    request = replace(request, ocr_settings=service.ocr_settings)
    with service.engine(request.cancelled or (lambda: False)) as engine:
        return _outcome(engine, engine.explain(request, text), [], extras, request)


def fields(service: ModelRegistry, request: Request, schema: Mapping[str, Any], in_one: bool = False) -> dict[str, Any]:
    """The fields that a schema names: ``fields``, and ``missing``, the required ones that were not found.

    Args:
        request, schema, in_one: see ``document_fields.read``.
    Raises:
        VlmDemoError: what ``document_fields.read`` raises; or no model could be loaded.
    """
    request = replace(request, ocr_settings=service.ocr_settings)
    with service.engine(request.cancelled or (lambda: False)) as engine:
        found = document_fields.read(engine, request, schema, in_one)
    return {"fields": found, "missing": document_fields.required(schema, found)}


def not_loaded(asked: str, loaded: str) -> Refused:
    """The error where another model than the requested one is in service."""
    return Refused(f"The model {asked[:100]!r} is not loaded here: ask for {loaded}.", 404, "model_not_found", "model")


def _outcome(
    engine: Engine, answer: Answer, stages: list[StageEvent], extras: RequestedExtras, request: Request
) -> RequestOutcome:
    cancelled = request.cancelled
    maps = _maps(engine, answer, extras, request)
    grounding, problem = None, ""
    if extras.grounding:
        try:
            grounding = engine.grounding(answer, cancelled=cancelled)
        except VlmDemoError as error:  # the answer is there, and must not be lost
            problem = str(error)
    checks = None
    if extras.checklist:
        checks = live_checks.complete(
            engine,
            answer,
            grounding=grounding,
            badge=not problem,  # it was measured above
            blank=extras.blank,
            settings=request.ocr_settings,
            cancelled=cancelled,
        )
    facts = [stage.facts for stage in stages]
    written = next((fact.tokens for fact in facts if isinstance(fact, DecodeFacts)), len(answer.tokens))
    known = next((fact.cached for fact in facts if isinstance(fact, PrefillFacts)), 0)
    times = tuple((stage.name, stage.seconds) for stage in stages)
    return RequestOutcome(answer, written, known, times, maps, grounding, problem, checks)


def _maps(engine: Engine, answer: Answer, extras: RequestedExtras, request: Request) -> tuple[Map, ...]:
    """The requested heatmaps, ``MOST_MAPS`` at most."""
    words: list[str | Word] = list(extras.words)
    if extras.all_words:
        words = [word for word in answer.words if is_content_word(bare(word.text))]
    pairs = ((word, image) for word in words for image in range(len(answer.views)))
    wanted = [MapRequest(word, image, extras.method) for word, image in islice(pairs, MOST_MAPS)]
    largest = max((view.size[0] * view.size[1] for view in answer.views), default=1)
    together = max(1, PIXELS_AT_ONCE // largest)
    parts = (wanted[start : start + together] for start in range(0, len(wanted), together))
    return tuple(one for part in parts for one in _drawn(engine, answer, part, request))


def _drawn(engine: Engine, answer: Answer, wanted: Sequence[MapRequest], request: Request) -> list[Map]:
    """Maps that are drawn together."""
    maps = []
    for one, drawn in zip(wanted, heatmaps(engine, answer, wanted, request.cancelled), strict=True):
        name = one.word.text if isinstance(one.word, Word) else str(one.word)
        if isinstance(drawn, VlmDemoError):
            maps.append(Map(name, one.image, None, str(drawn)))
        else:
            maps.append(Map(name, one.image, _png(drawn)))
    return maps


def _png(heat: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((np.clip(heat, 0, 1) * 255).round().astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
