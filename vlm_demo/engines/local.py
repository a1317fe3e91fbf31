"""Local: the pipeline of this process as an Engine, and how one is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vlm_demo.contracts import (
    DEFAULT_OCR,
    Anatomy,
    Answer,
    Evidence,
    Grounding,
    MapRequest,
    Memory,
    OcrResult,
    OcrSettings,
    Scores,
    View,
)
from vlm_demo.contracts.engine import Cancelled, Capabilities, Event, Request, each_map
from vlm_demo.engines.scheduler import BATCH, Scheduler
from vlm_demo.errors import VlmDemoError
from vlm_demo.images.decode import share_of_pixels
from vlm_demo.images.open import Source
from vlm_demo.trust import NONE, Trust

if TYPE_CHECKING:
    from vlm_demo.checks.latency import Machine
    from vlm_demo.engines.registry import Progress
    from vlm_demo.pipeline import Pipeline


class LocalEngine:
    """A `contracts.engine.MeasurableEngine`: requests take turns with ``pipeline``.

    A turn lasts as long as the model is needed. Answers share theirs, ``batch`` of them at most, and their tokens are
    computed in one batch, where the model can do so; all else has a turn alone. What comes before a turn, opening the
    pictures and reading their text while they are encoded, blocks no other request. The badge (`grounding`) has no turn
    at all: it is a few short forward passes over a finished answer, each of which runs between two tokens of the
    current turn. Nor has a map that is drawn of recorded attention.
    """

    def __init__(self, pipeline: Pipeline, batch: int = BATCH) -> None:
        self.pipeline = pipeline
        self.scheduler = Scheduler(batch if pipeline.can_batch else 1)

    @property
    def name(self) -> str:
        return self.pipeline.name

    @property
    def precision(self) -> str:
        return self.pipeline.precision

    @property
    def device(self) -> str:
        return str(self.pipeline.device)

    @property
    def parameters(self) -> int | None:
        return self.pipeline.parameters

    @property
    def settings_folder(self) -> Path:
        return self.pipeline.settings_folder

    @property
    def family(self) -> str:
        return self.pipeline.family

    @property
    def bridge(self) -> str:
        return self.pipeline.bridge_info.text

    @property
    def capabilities(self) -> Capabilities:
        from vlm_demo.models import quantization

        pipe = self.pipeline
        return Capabilities(
            writes=pipe.can_answer,
            explains=pipe.can_explain,
            scores=pipe.can_score,
            quantizes=pipe.can_answer and not quantization.missing(),
            logprobs=pipe.can_answer,
            alternatives=pipe.can_answer,
            holds_json=pipe.can_hold_json,
            batches=self.scheduler.most > 1,
        )

    def stream(self, request: Request) -> Iterator[Event]:
        turn = partial(self.scheduler.turn, request.cancelled, shared=True)
        return self.pipeline.answer(request, turn, together=self.scheduler.most)

    def explain(self, request: Request, text: str) -> Answer:
        return self.pipeline.read_answer(request, text, partial(self.scheduler.turn, request.cancelled))

    def score(
        self, image: Source, texts: Sequence[str], *, cancelled: Cancelled | None = None, visitor: str = ""
    ) -> Scores:
        turn = partial(self.scheduler.turn, cancelled)
        return self.pipeline.part_that_scores().score(image, tuple(texts), cancelled, visitor, turn)

    def relevancy(
        self, image: Source, text: str, *, cancelled: Cancelled | None = None, visitor: str = ""
    ) -> np.ndarray:
        turn = partial(self.scheduler.turn, cancelled)
        return self.pipeline.part_that_scores().heatmap(image, text, cancelled, visitor, turn)

    def read_text(
        self, view: View, settings: OcrSettings = DEFAULT_OCR, *, cancelled: Cancelled | None = None
    ) -> OcrResult:
        return self.pipeline.reader(view.image, settings, cancelled, view.visitor)

    def heatmap_methods(self, answer: Answer) -> dict[str, str | None]:
        return self.pipeline.heatmap_methods(answer) if self.pipeline.can_explain else {}

    def heatmap(self, answer: Answer, wanted: MapRequest, *, cancelled: Cancelled | None = None) -> np.ndarray:
        with self._turn_for(answer, (wanted,), cancelled):
            return self.pipeline.stages().explanations.heatmap(answer, wanted, cancelled)

    def heatmaps(
        self, answer: Answer, wanted: Sequence[MapRequest], *, cancelled: Cancelled | None = None
    ) -> list[np.ndarray | VlmDemoError]:
        with self._turn_for(answer, wanted, cancelled):
            return each_map(wanted, lambda one: self.pipeline.stages().explanations.heatmap(answer, one, cancelled))

    def _turn_for(
        self, answer: Answer, wanted: Sequence[MapRequest], cancelled: Cancelled | None
    ) -> AbstractContextManager[None]:
        """A turn to draw some maps, where one of them needs the model."""
        pipe = self.pipeline
        if not pipe.can_explain or all(pipe.stages().explanations.is_free(answer, one) for one in wanted):
            return nullcontext()
        return self.scheduler.turn(cancelled)

    def grounding(self, answer: Answer, *, cancelled: Cancelled | None = None) -> Grounding:
        return self.pipeline.grounding(answer, cancelled=cancelled)

    def anatomy(self, answer: Answer, *, cancelled: Cancelled | None = None) -> Anatomy:
        with self.scheduler.turn(cancelled):
            return self.pipeline.anatomy(answer, cancelled=cancelled)

    def cells(self, answer: Answer, wanted: MapRequest) -> np.ndarray:
        with self._turn_for(answer, (wanted,), None):
            return self.pipeline.stages().explanations.cells(answer, wanted)

    def likelihoods(self, answer: Answer, masks: np.ndarray, image: int = 0) -> np.ndarray:
        with self.scheduler.turn():
            return self.pipeline.likelihoods(answer, masks, image)

    def evidence(self, answer: Answer) -> Evidence:
        return self.pipeline.evidence(answer)

    def with_pictures(self, answer: Answer, images: Sequence[Source]) -> Answer:
        if self.name != (answer.replay.by if answer.replay else answer.model):
            raise VlmDemoError(f"{answer.model} wrote this answer, and {self.name} is in service now: ask again first.")
        view = partial(self.pipeline.view, visitor=answer.view.visitor, most_pixels=share_of_pixels(len(images)))
        return replace(answer, views=tuple(view(image).geometry for image in images))

    def in_distribution(self, view: View) -> float | None:
        return self.pipeline.in_distribution(view)

    def memory(self) -> Memory:
        return self.pipeline.memory()

    def machine(self) -> Machine:
        """What the checklist has to know about the model on this machine."""
        return self.pipeline.on_this_machine()

    def forget(self, visitor: str | None = None) -> None:
        self.pipeline.forget(visitor)


def load(
    model: str,
    quantize: str,
    device: str | None,
    progress: Progress | None = None,
    trust: Trust = NONE,
    image_hosts: Sequence[str] = (),
    batch: int = BATCH,
) -> LocalEngine:
    """Load ``model``: an embedded one's name, a folder, or a hub id; see ``Pipeline.from_pretrained``. Up to ``batch``
    answers are computed together."""
    from vlm_demo import Pipeline

    return LocalEngine(
        Pipeline.from_pretrained(
            model,
            quantize=quantize,
            device=device,
            progress=progress,
            trust=trust,
            image_hosts=image_hosts,
            own_thread=True,
        ),
        batch,
    )


def prepare() -> None:
    """Import what loading a model imports, in the calling thread: of two threads that import transformers at the same
    time, one may get a partly initialized module."""
    from vlm_demo import Pipeline  # noqa: F401


def announcement(model: str) -> str:
    """What has to be assembled before ``model`` can be loaded, as one sentence; empty where nothing has.

    Raises:
        VlmDemoError: it can't be assembled; gives the reason.
    """
    from vlm_demo.models import loading

    return loading.announcement(model)


def checked_device(quantize: str, device: str | None) -> str:
    """The device on which a model at ``quantize`` would be loaded.

    Raises:
        VlmDemoError: there is no such device, or it can't hold models of this precision.
    """
    from vlm_demo.models import loading

    return str(loading.check(quantize, device))


def ocr_missing(settings: OcrSettings = DEFAULT_OCR) -> str | None:
    """None where text in pictures can be read so here, else the sentence how to install what is missing."""
    from vlm_demo.runtime.ocr_engines import engine_for

    return engine_for(settings.engine).missing(settings.languages)


def ocr_languages(settings: OcrSettings = DEFAULT_OCR) -> tuple[str, ...]:
    """The languages in which text can be read here by the engine of ``settings``; empty where it can't."""
    from vlm_demo.runtime.ocr_engines import engine_for

    return engine_for(settings.engine).installed()
