"""Scoring: a picture and some texts → how well each text fits, in a model that compares the two."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np

from vlm_demo.contracts import Scores, StageEvent, View
from vlm_demo.contracts.events import CompareFacts, TextsFacts
from vlm_demo.contracts.geometry import interpolate
from vlm_demo.explain.itm_relevancy import ItmRelevancy
from vlm_demo.images.open import Source
from vlm_demo.models.adapters import Family, Matcher
from vlm_demo.models.loading import Loaded
from vlm_demo.pipeline.facts import encoder_facts, view_facts
from vlm_demo.pipeline.inputs import Turns
from vlm_demo.runtime.cancellation import CancellationHooks, check
from vlm_demo.runtime.feature_cache import FeatureCache
from vlm_demo.runtime.lru_store import LruStore
from vlm_demo.runtime.pixel_view import PixelView
from vlm_demo.runtime.scorer import Scorer, Texts
from vlm_demo.runtime.stage_clock import StageClock
from vlm_demo.stages.encoder import Encoder
from vlm_demo.stages.view import ViewMaker


class ScoringModel:
    """A model that compares pictures with texts, and its stages, each callable alone: ``view``, ``encoder``,
    ``scorer``. ``relevancy`` finds the patches that match a text."""

    def __init__(
        self,
        loaded: Loaded,
        family: Family,
        matcher: Matcher,
        guard: CancellationHooks,
        view: ViewMaker,
        store: LruStore,
    ) -> None:
        guard.watch(matcher.layers)
        self.name, self.family, self.matcher, self.view = loaded.name, family, matcher, view
        self.encoder = Encoder(family, guard)
        self.features = FeatureCache(self.encoder, store)
        self.scorer = Scorer(matcher, loaded.tokenizer, guard)
        self.relevancy = ItmRelevancy(family, guard, self.scorer, view)

    def score(
        self,
        image: Source,
        texts: Sequence[str],
        cancelled: Callable[[], bool] | None = None,
        visitor: str = "",
        turn: Turns = nullcontext,
    ) -> Scores:
        """How well each text fits the picture, compared with the others and, where the model can, by itself.

        Args:
            turn: entered for as long as the model is needed, after the picture was opened.
        Raises:
            BadImage, BadQuestion: the picture can't be opened; there is no text, or one is empty or too long.
            Stopped: ``cancelled()`` turned True.
        """
        clock, stages = StageClock(), list[StageEvent]()
        check(cancelled)
        # 1) view
        began = time.perf_counter()
        view = self.view(image, visitor, cancelled=cancelled)
        stages.append(clock.since("view", began, view_facts([view])))
        # 2) texts → tokens
        began = time.perf_counter()
        coded = self.scorer.read(texts)
        stages.append(clock.since("texts", began, TextsFacts(len(texts), coded.ids.shape[1])))
        with turn():
            return self._compared(view, texts, coded, clock, stages, cancelled)

    def _compared(
        self,
        view: PixelView,
        texts: Sequence[str],
        coded: Texts,
        clock: StageClock,
        stages: list[StageEvent],
        cancelled: Callable[[], bool] | None,
    ) -> Scores:
        """What the model does with the picture and the texts; ``stages`` are those before it."""
        # 3) encoder: pixels → patch features
        began = time.perf_counter()
        (patches,), cached = self.features.patches([view], cancelled)
        stages.append(clock.since("encoder", began, encoder_facts(self.family, [view], [patches], cached)))
        # 4) one vector a picture against one vector a text
        began = time.perf_counter()
        shape = tuple(patches.features.shape[1:])
        similarities = self.scorer.similarities(patches, coded, cancelled)
        stages.append(clock.since("compare", began, CompareFacts(shape, len(texts))))
        # 5) picture and text read together, where the model has a head for it
        began = time.perf_counter()
        matches = self.scorer.matches(patches, coded, cancelled)
        if matches is not None:
            stages.append(clock.since("match", began, CompareFacts(shape, len(texts), together=True)))
        return Scores(
            texts=tuple(texts),
            probabilities=tuple(self.scorer.probabilities(similarities).tolist()),
            similarities=tuple(similarities.tolist()),
            temperature=self.matcher.temperature,
            matches=None if matches is None else tuple(matches.tolist()),
            view=view.geometry,
            stages=tuple(stages),
            model=self.name,
        )

    def heatmap(
        self,
        image: Source | View,
        text: str,
        cancelled: Callable[[], bool] | None = None,
        visitor: str = "",
        turn: Turns = nullcontext,
    ) -> np.ndarray:
        """Which parts of a picture match a text: float32 [H, W] in the upload's own pixels, 0..1.

        Args:
            turn: as in `score`.
        Raises:
            BadImage, BadQuestion: the picture can't be opened; the text is empty or too long.
            Stopped: ``cancelled()`` turned True.
        """
        check(cancelled)
        view = image if isinstance(image, View) else self.view(image, visitor, cancelled=cancelled)
        with turn(), self.scorer.guard.stoppable(cancelled):
            return interpolate(self.relevancy.relevancy(view, text), view)
