"""Engine: the interface between models and their users. Page, API, command line and evaluation know this alone.

An engine may be the pipeline in this process, a server elsewhere, or a fake in tests; ``capabilities`` list what it
can do. Anything else raises `UnsupportedModel` with a sentence for the person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from vlm_demo.contracts.anatomy import Anatomy
from vlm_demo.contracts.answer import Answer, MapRequest
from vlm_demo.contracts.events import Memory, StageEvent, TokenEvent
from vlm_demo.contracts.geometry import View
from vlm_demo.contracts.grounding import Evidence, Grounding
from vlm_demo.contracts.ocr import DEFAULT_OCR, OcrResult, OcrSettings
from vlm_demo.contracts.prompt import Turn
from vlm_demo.contracts.sampling import GREEDY, Sampling
from vlm_demo.contracts.scores import Scores
from vlm_demo.errors import Stopped, VlmDemoError
from vlm_demo.images.open import Source

ELSEWHERE = "a server"  # an engine's device where the model runs elsewhere
AS_SERVED = "as served"  # its precision, which servers don't report

Event = StageEvent | TokenEvent | Answer
Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class Request:
    """One question.

    Attributes:
        images: PIL images, paths, bytes or file objects; empty = about the pictures of ``history``.
        question: passed to the model as it is, in its chat template.
        ocr: whether the pictures' text is read first and inserted before the question.
        evidence_only: whether the prompt asks for "unknown" where nothing is seen.
        max_new_tokens: None = the checkpoint's own limit.
        history: earlier turns, oldest first; their pictures count before ``images``.
        cancelled: polled while the answer is computed; True ends it.
        system: a system message; see ``stages.prompt``.
        sampling: how tokens are sampled, and the stop texts.
        visitor: whose cache entries are used and written: no other visitor gets cache hits on them, not even in time.
        ocr_settings: how OCR reads text.
    """

    images: tuple[Source, ...]
    question: str
    ocr: bool = False
    evidence_only: bool = False
    max_new_tokens: int | None = None
    history: tuple[Turn, ...] = ()
    cancelled: Cancelled | None = None
    system: str = ""
    sampling: Sampling = GREEDY
    visitor: str = ""
    ocr_settings: OcrSettings = DEFAULT_OCR


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do.

    Attributes:
        writes: answers questions (``stream``).
        explains: gives its answers heatmaps, and any given answer too (``explain``, ``heatmap``, ``grounding``,
            ``anatomy``).
        scores: compares a picture with texts (``score``).
        quantizes: its model can be loaded in 8 or 4 bit here.
        logprobs: its tokens carry their probabilities; where it is False, those of ``Token`` mean nothing.
        alternatives: it can return the likeliest tokens at each position (``Sampling.alternatives``).
        holds_json: its answers can be constrained to a JSON schema (``Sampling.schema``).
        batches: tokens of several requests are computed in one batch; otherwise requests are served one by one.
    """

    writes: bool
    explains: bool
    scores: bool
    quantizes: bool
    logprobs: bool
    alternatives: bool = False
    holds_json: bool = False
    batches: bool = False


class Engine(Protocol):
    """What answers questions about pictures."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def precision(self) -> str:
        """Of the weights: ``fp32``, ``bf16``, ``fp16``, ``8bit`` or ``4bit``; ``AS_SERVED``."""

    @property
    def device(self) -> str:
        """The device, as torch writes it: ``cpu``, ``cuda:0``; ``ELSEWHERE``."""

    @property
    def parameters(self) -> int | None:
        """How many the model has; None where that is not known."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def stream(self, request: Request) -> Iterator[Event]:
        """Answer a question; a plain generator: closing it stops the work.

        Any number of requests may be streamed at a time. They take turns with the model, or share them where it
        ``batches``; while one's pictures are opened and read (OCR), others compute.

        Yields:
            StageEvents and TokenEvents as they come, and the Answer as the last. Where its text is shorter than the
            last TokenEvent's, the Answer counts; the tokens are those of ``Answer.written``.
        Raises:
            BadImage, BadQuestion, OcrUnavailable: one sentence for the person.
            UnsupportedModel: it writes no answers.
            Stopped: ``request.cancelled()`` turned True before the first token. Later, the Answer says ``stopped``.
        """

    def explain(self, request: Request, text: str) -> Answer:
        """The Answer with heatmaps and probabilities for a given ``text``; nothing is generated.

        Raises:
            BadImage, BadQuestion, OcrUnavailable: question, picture or ``text`` can't be used.
            UnsupportedModel: it can't explain.
        """

    def score(
        self, image: Source, texts: Sequence[str], *, cancelled: Cancelled | None = None, visitor: str = ""
    ) -> Scores:
        """How well each text fits the picture; ``visitor`` as in `Request`.

        Raises:
            BadImage, BadQuestion: the picture or a text can't be used.
            UnsupportedModel: it compares no pictures with texts.
            Stopped: ``cancelled()`` turned True.
        """

    def relevancy(
        self, image: Source, text: str, *, cancelled: Cancelled | None = None, visitor: str = ""
    ) -> np.ndarray:
        """Which parts of the picture support a text: float32 [H, W] in the upload's own pixels, 0..1; ``visitor`` as
        in `Request`.

        Raises:
            BadImage, BadQuestion: the picture or the text can't be used.
            UnsupportedModel: it compares no pictures with texts.
            Stopped: ``cancelled()`` turned True.
        """

    def heatmap_methods(self, answer: Answer) -> dict[str, str | None]:
        """The names of ``contracts.heatmap_methods.TABLE``, and why this answer can't have a map of it; None where it
        can."""

    def heatmap(self, answer: Answer, wanted: MapRequest, *, cancelled: Cancelled | None = None) -> np.ndarray:
        """As `Answer.heatmap`, float32 [H, W] in 0..1, including methods that run the model again.

        Raises:
            WordNotInAnswer, VlmDemoError: as `Answer.heatmap` does; or the method can't be had.
            Stopped: ``cancelled()`` turned True.
        """

    def grounding(self, answer: Answer, *, cancelled: Cancelled | None = None) -> Grounding:
        """Whether an answer rests on the picture, or on text that was read in it.

        Raises:
            VlmDemoError: no attention was recorded.
            Stopped: ``cancelled()`` turned True.
        """

    def anatomy(self, answer: Answer, *, cancelled: Cancelled | None = None) -> Anatomy:
        """The internals of an answer, layer by layer: one more forward pass over prompt and tokens (teacher forcing).

        Raises:
            UnsupportedModel: its layers can't be inspected.
            VlmDemoError: the answer has no tokens.
            Stopped: ``cancelled()`` turned True.
        """

    def read_text(
        self, view: View, settings: OcrSettings = DEFAULT_OCR, *, cancelled: Cancelled | None = None
    ) -> OcrResult:
        """The text of a picture (OCR), cached for its visitor. Takes no turn: other requests compute meanwhile.

        Raises:
            OcrUnavailable: text can't be read with these settings here; says what to do.
            Stopped: ``cancelled()`` turned True.
        """

    def with_pictures(self, answer: Answer, images: Sequence[Source]) -> Answer:
        """An answer of this engine with its pictures in full size, where only smaller ones were kept.

        Args:
            images: all of the answer's pictures as uploaded, those of the history first.
        Raises:
            VlmDemoError: another model wrote the answer.
        """

    def in_distribution(self, view: View) -> float | None:
        """How much a picture looks like what the model was trained on, 0..1; None where the checkpoint can't say."""

    def memory(self) -> Memory:
        """Bytes of the model and of the process, measured now."""

    def forget(self, visitor: str | None = None) -> None:
        """Drop the cached pictures and prompts of this visitor; None = of all visitors."""


@runtime_checkable
class DrawsTogether(Protocol):
    """An engine that draws several maps of an answer in one turn."""

    def heatmaps(
        self, answer: Answer, wanted: Sequence[MapRequest], *, cancelled: Cancelled | None = None
    ) -> list[np.ndarray | VlmDemoError]:
        """As `Engine.heatmap` for each; the error in place of a map that can't be drawn.

        Raises:
            Stopped: ``cancelled()`` turned True.
        """


class MeasurableEngine(Engine, Protocol):
    """An engine with a local model, so that evaluation can measure and calibrate its explanations."""

    @property
    def settings_folder(self) -> Path:
        """The folder that fitted parameters are written to: the checkpoint's, or that of the recipe which it is put
        together from; what it holds counts from the next load on."""

    @property
    def family(self) -> str:
        """The name of the model's adapter."""

    @property
    def bridge(self) -> str:
        """How image features enter the language model, one sentence."""

    def cells(self, answer: Answer, wanted: MapRequest) -> np.ndarray:
        """The map before upsampling in `heatmap`: float [patches] of the picture, row by row of its view's grid.

        Raises:
            WordNotInAnswer, VlmDemoError: as `heatmap` does.
        """

    def likelihoods(self, answer: Answer, masks: np.ndarray, image: int = 0) -> np.ndarray:
        """How likely the answer is with patches of one picture hidden behind a blur, each token with those before it
        given.

        Args:
            masks: bool [n, patches] of the picture's view, True = hidden.
            image: which of ``answer.views``.
        Returns:
            float32 [n, tokens], natural logarithms of the tokens' probabilities.
        """

    def evidence(self, answer: Answer) -> Evidence:
        """What `grounding` is based on, for an answer with at least one word."""


def heatmaps(
    engine: Engine, answer: Answer, wanted: Sequence[MapRequest], cancelled: Cancelled | None = None
) -> list[np.ndarray | VlmDemoError]:
    """Several maps of an answer, in one turn where the engine can; see `DrawsTogether`."""
    if isinstance(engine, DrawsTogether):
        return engine.heatmaps(answer, wanted, cancelled=cancelled)
    return each_map(wanted, lambda one: engine.heatmap(answer, one, cancelled=cancelled))


def each_map(wanted: Iterable[MapRequest], draw: Callable[[MapRequest], np.ndarray]) -> list[np.ndarray | VlmDemoError]:
    """What ``draw`` makes of each, or why it can't be drawn."""
    maps: list[np.ndarray | VlmDemoError] = []
    for one in wanted:
        try:
            maps.append(draw(one))
        except Stopped:
            raise
        except VlmDemoError as error:
            maps.append(error)
    return maps


def answered(events: Iterable[Event]) -> Answer:
    """The answer at the end of a stream."""
    return next(event for event in events if isinstance(event, Answer))
