"""Methods: the ways to draw a word's map. A new one is one more file, a line in ``MODULES``, and its words in
``contracts.heatmap_methods``.

How far each may be believed is measured, not argued: `python -m vlm_demo evaluate FOLDER --pointing --method all`.
"""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, SupportsIndex

from vlm_demo.contracts import Word, heatmap_methods
from vlm_demo.errors import VlmDemoError
from vlm_demo.explain.heatmap import interpolate
from vlm_demo.explain.methods import (
    activation,
    heads,
    last,
    localised,
    mean,
    occlusion,
    queries,
    raw,
    relevancy,
    rollout,
    similarity,
    weighted,
)
from vlm_demo.explain.methods.request import MapRequest, Method, anything

if TYPE_CHECKING:
    import numpy as np

    from vlm_demo.contracts import Answer
    from vlm_demo.explain.teacher_forcing import TeacherForcing

MODULES: dict[str, ModuleType] = {
    "raw": raw,
    "mean": mean,
    "localised": localised,
    "last": last,
    "heads": heads,
    "weighted": weighted,
    "queries": queries,
    "rollout": rollout,
    "relevancy": relevancy,
    "activation": activation,
    "similarity": similarity,
    "occlusion": occlusion,
}
TABLE = tuple(
    Method(**vars(facts), cells=MODULES[facts.name].cells, lacks=getattr(MODULES[facts.name], "lacks", anything))
    for facts in heatmap_methods.TABLE
)
BY_NAME = {method.name: method for method in TABLE}
SELECTED = "raw"  # what a layer or a head without a method means
AGAIN = "{title} reads the answer once more, so it needs the model: call the pipeline's heatmap with this answer."


def request(
    answer: Answer,
    word: str | Word | SupportsIndex,
    image: int = 0,
    method: str | None = None,
    layer: int | None = None,
    head: int | None = None,
    model: TeacherForcing | None = None,
) -> tuple[Method, MapRequest]:
    """The method that is meant and what it is to be given.

    Args:
        answer, word, image: as `Answer.heatmap` takes them.
        method: a name of ``TABLE``; None = the checkpoint's default, or raw attention where a layer or head is given.
        layer, head: a single one, counted from 0, for methods that are ``selectable``.
        model: reads the answer again, for methods that are not ``free``.
    Raises:
        WordNotInAnswer: the answer does not hold the word or the token; lists the words.
        VlmDemoError: no attention was recorded, or there is no such picture or method, or this model lacks it.
    """
    if answer.trace is None:
        raise VlmDemoError("No attention was recorded for this answer: choose a model that can explain itself.")
    if not -len(answer.views) <= image < len(answer.views):
        raise VlmDemoError(f"There is no picture {image}: this answer is about {len(answer.views)}, counted from 0.")
    own = answer.trace.settings
    if method is None:
        method = own.method if layer is None and head is None else SELECTED
    if method not in BY_NAME:
        raise VlmDemoError(f"There is no heatmap method {method}: choose one of {', '.join(BY_NAME)}.")
    # The checkpoint's layers belong to its own method; another one asked for by name looks at all.
    settings = own if method == own.method else replace(own, method=method, layers=None)
    made = MapRequest(answer, tuple(answer.steps(word)), image % len(answer.views), settings, layer, head, model)
    chosen = BY_NAME[method]
    reason = missing(chosen, made)
    if reason and chosen.name != own.method:  # a checkpoint's default is always drawn, from what is there
        raise VlmDemoError(reason)
    if not chosen.selectable and (layer is not None or head is not None):
        raise VlmDemoError(f"{chosen.title} joins layers and heads by itself: choose {SELECTED} to see a single one.")
    return chosen, made


def missing(method: Method, made: MapRequest) -> str | None:
    """Why this model and answer can't have a map of this method, in one sentence; None where they can."""
    if not method.free and made.model is None:
        return AGAIN.format(title=method.title)
    return method.lacks(made)


def offered(answer: Answer, model: TeacherForcing | None = None) -> dict[str, str | None]:
    """Every method's name, and why this answer can't have it; None where it can. Empty where nothing was recorded."""
    if answer.trace is None:
        return {}
    made = MapRequest(answer, (), 0, answer.trace.settings, model=model)
    return {method.name: missing(method, made) for method in TABLE}


def draw(method: Method, made: MapRequest) -> np.ndarray:
    """The map: float32 [H, W] in the upload's own pixels, 0..1."""
    return interpolate(method.cells(made), made.view)


class RecordedMaps:
    """Draws an answer's maps of what was recorded while it was written (a `contracts.MapDrawer`); no model is asked."""

    def cells(
        self,
        answer: Answer,
        word: str | Word | SupportsIndex,
        image: int = 0,
        method: str | None = None,
        layer: int | None = None,
        head: int | None = None,
    ) -> np.ndarray:
        """float [patches] of the picture, row by row of its view's grid; see `request`."""
        chosen, made = request(answer, word, image, method, layer, head)
        return chosen.cells(made)

    def heatmap(
        self,
        answer: Answer,
        word: str | Word | SupportsIndex,
        image: int = 0,
        method: str | None = None,
        layer: int | None = None,
        head: int | None = None,
    ) -> np.ndarray:
        """float32 [H, W] in the upload's own pixels, 0..1; see `request`."""
        return draw(*request(answer, word, image, method, layer, head))


RECORDED = RecordedMaps()

__all__ = [
    "BY_NAME",
    "RECORDED",
    "TABLE",
    "Method",
    "RecordedMaps",
    "MapRequest",
    "draw",
    "missing",
    "offered",
    "request",
]
