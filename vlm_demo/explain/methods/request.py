"""Request: what every method is given to draw one map, and how a method describes itself.

Data and no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlm_demo.contracts import HeatmapSettings, Trace, View
from vlm_demo.contracts.heatmap_methods import MapMethod

if TYPE_CHECKING:
    import numpy as np

    from vlm_demo.contracts import Answer
    from vlm_demo.explain.teacher_forcing import TeacherForcing


@dataclass(frozen=True, eq=False)
class MapInputs:
    """What one map is drawn of.

    Attributes:
        answer: the answer, with its trace.
        steps: the indices of the tokens that wrote the word.
        image: which of ``answer.views``, from 0.
        settings: how layers and heads are joined by methods that join them.
        layer, head: for methods that show a single one; None = all.
        model: reads the answer again; None where only recorded rows are at hand.
    """

    answer: Answer
    steps: tuple[int, ...]
    image: int
    settings: HeatmapSettings
    layer: int | None = None
    head: int | None = None
    model: TeacherForcing | None = None

    @property
    def view(self) -> View:
        return self.answer.views[self.image]

    @property
    def trace(self) -> Trace:
        assert self.answer.trace is not None
        return self.answer.trace

    @property
    def word(self) -> str:
        """The steps' own text."""
        return "".join(self.answer.tokens[step].text for step in self.steps).strip()

    @property
    def rows(self) -> np.ndarray:
        """float32 [steps, layers, heads, patches]."""
        return self.trace.rows(self.image, self.steps)

    @property
    def teacher_forcing(self) -> TeacherForcing:
        """The model, for methods that need a pass of their own."""
        assert self.model is not None
        return self.model


def anything(request: MapInputs) -> str | None:
    """A method that no model lacks."""
    return None


@dataclass(frozen=True, kw_only=True)
class Method(MapMethod):
    """One way to draw a word's map.

    Attributes:
        cells: the method itself: a request → float [patches] of the picture, row by row of the view's grid.
        lacks: why a model can't offer it, in one sentence; None where it can.
    """

    cells: Callable[[MapInputs], np.ndarray]
    lacks: Callable[[MapInputs], str | None] = anything
