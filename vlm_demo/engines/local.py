"""Local: the pipeline of this process as an Engine, and how one is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np

from vlm_demo.contracts import DEFAULT_OCR, Answer, Grounding, Memory, OcrSettings, Scores, View, Word
from vlm_demo.contracts.engine import Cancelled, Capabilities, Event, Request
from vlm_demo.errors import VlmDemoError
from vlm_demo.images.open import Source
from vlm_demo.trust import NONE, Trust

if TYPE_CHECKING:
    from vlm_demo.engines.registry import Progress
    from vlm_demo.pipeline import Pipeline


class LocalEngine:
    """A `contracts.engine.Engine`: each question goes to ``pipeline``."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

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
    def capabilities(self) -> Capabilities:
        pipe = self.pipeline
        return Capabilities(pipe.can_answer, pipe.can_explain, pipe.can_score)

    def stream(self, request: Request) -> Iterator[Event]:
        return self.pipeline.stream(
            request.images,
            request.question,
            ocr=request.ocr,
            evidence_only=request.evidence_only,
            max_new_tokens=request.max_new_tokens,
            history=request.history,
            cancelled=request.cancelled,
            system=request.system,
            sampling=request.sampling,
            ocr_settings=request.ocr_settings,
        )

    def explain(self, request: Request, text: str) -> Answer:
        return self.pipeline.explain(
            request.images,
            request.question,
            text,
            ocr=request.ocr,
            evidence_only=request.evidence_only,
            history=request.history,
            ocr_settings=request.ocr_settings,
        )

    def score(self, image: Source, texts: Sequence[str], *, cancelled: Cancelled | None = None) -> Scores:
        return self.pipeline.score(image, texts, cancelled=cancelled)

    def heatmap_methods(self, answer: Answer) -> dict[str, str | None]:
        return self.pipeline.heatmap_methods(answer)

    def heatmap(
        self,
        answer: Answer,
        word: str | Word | SupportsIndex,
        image: int = 0,
        method: str | None = None,
        layer: int | None = None,
        head: int | None = None,
        *,
        cancelled: Cancelled | None = None,
    ) -> np.ndarray:
        return self.pipeline.heatmap(answer, word, image, method, layer, head, cancelled=cancelled)

    def grounding(self, answer: Answer, *, cancelled: Cancelled | None = None) -> Grounding:
        return self.pipeline.grounding(answer, cancelled=cancelled)

    def with_pictures(self, answer: Answer, images: Sequence[Source]) -> Answer:
        if self.name != answer.model:
            raise VlmDemoError(f"{answer.model} wrote this answer, and {self.name} is in service now: ask again first.")
        return replace(answer, views=tuple(self.pipeline.view(image).geometry for image in images))

    def in_distribution(self, view: View) -> float | None:
        return self.pipeline.in_distribution(view)

    def memory(self) -> Memory:
        return self.pipeline.memory()

    def forget(self) -> None:
        self.pipeline.forget()


def load(
    model: str, quantize: str, device: str | None, progress: Progress | None = None, trust: Trust = NONE
) -> LocalEngine:
    """Load ``model``: an embedded one's name, a folder, or a hub id; see ``models.loading.load``."""
    from vlm_demo import Pipeline

    return LocalEngine(
        Pipeline.from_pretrained(model, quantize=quantize, device=device, progress=progress, trust=trust)
    )


def announcement(model: str) -> str:
    """What has to be made before ``model`` can be loaded, as one sentence; empty where that is nothing.

    Raises:
        VlmDemoError: it can't be made; says why.
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
