"""Explanations: an answer of a staged model → heatmaps of its words, and what the answer rests on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vlm_demo.checks.calibration import Calibration
from vlm_demo.contracts import Anatomy, Answer, Evidence, Grounding, MapRequest
from vlm_demo.errors import VlmDemoError
from vlm_demo.explain import anatomy, methods
from vlm_demo.explain.grounding import gather, judge
from vlm_demo.explain.teacher_forcing import TeacherForcing
from vlm_demo.runtime.cancellation import CancellationHooks, check


class Explanations:
    """Draws and judges answers of one model, which ``teacher_forcing`` lets read them once more."""

    def __init__(
        self,
        teacher_forcing: TeacherForcing,
        guard: CancellationHooks,
        calibration: Calibration | None,
        tokenizer: Any,
    ) -> None:
        self.teacher_forcing, self._guard, self._calibration = teacher_forcing, guard, calibration
        self._tokenizer = tokenizer

    def methods(self, answer: Answer) -> dict[str, str | None]:
        """The names of ``explain.methods.TABLE``, and why this answer can't have a map of it; None where it can."""
        return methods.offered(answer, self.teacher_forcing)

    def is_free(self, answer: Answer, wanted: MapRequest) -> bool:
        """Whether a map is drawn of what was recorded, without a pass of the model; also where it can't be drawn."""
        try:
            return methods.choose(answer, wanted, self.teacher_forcing)[0].free
        except VlmDemoError:
            return True

    def heatmap(self, answer: Answer, wanted: MapRequest, cancelled: Callable[[], bool] | None = None) -> np.ndarray:
        """float32 [H, W] in the upload's own pixels, 0..1.

        Raises:
            WordNotInAnswer, VlmDemoError: as `Answer.heatmap` does; or this model can't offer the method.
            Stopped: ``cancelled()`` turned True.
        """
        check(cancelled)
        chosen = methods.choose(answer, wanted, self.teacher_forcing)
        with self._guard.stoppable(cancelled):
            return methods.draw(*chosen)

    def cells(self, answer: Answer, wanted: MapRequest) -> np.ndarray:
        """What `heatmap` is drawn from: float [patches] of the picture, row by row of its view's grid."""
        method, inputs = methods.choose(answer, wanted, self.teacher_forcing)
        return method.cells(inputs)

    def likelihoods(self, answer: Answer, masks: np.ndarray, image: int = 0) -> np.ndarray:
        """How likely the answer is with patches of one picture hidden; see `TeacherForcing.likelihoods`."""
        return self.teacher_forcing.likelihoods(answer, image, masks)

    def evidence(self, answer: Answer) -> Evidence:
        """The evidence for an answer with at least one word; see ``explain.grounding.gather``."""
        return gather(answer, self.teacher_forcing)

    def grounding(self, answer: Answer, cancelled: Callable[[], bool] | None = None) -> Grounding:
        """The answer's badge.

        Raises:
            VlmDemoError: no attention was recorded.
            Stopped: ``cancelled()`` turned True.
        """
        with self._guard.stoppable(cancelled):
            return judge(answer, self.teacher_forcing, self._calibration)

    def anatomy(self, answer: Answer, cancelled: Callable[[], bool] | None = None) -> Anatomy:
        """The inside of an answer; see ``explain.anatomy``.

        Raises:
            VlmDemoError: it has no tokens.
            Stopped: ``cancelled()`` turned True.
        """
        with self._guard.stoppable(cancelled):
            return anatomy.of(answer, self.teacher_forcing, self._tokenizer)
