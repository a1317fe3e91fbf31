"""Methods: the ways to draw a word's map. A new one is one more file, a line in ``MODULES``, and its words in
``contracts.heatmap_methods``.

How reliable each is, is measured: `python -m vlm_demo evaluate FOLDER --pointing --method all`.
"""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING

from vlm_demo.contracts import MapRequest, heatmap_methods
from vlm_demo.contracts.geometry import interpolate
from vlm_demo.errors import VlmDemoError
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
from vlm_demo.explain.methods.request import MapInputs, Method, anything

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


def choose(answer: Answer, wanted: MapRequest, model: TeacherForcing | None = None) -> tuple[Method, MapInputs]:
    """The method that is meant and what it is to be given.

    Args:
        answer: with its trace.
        wanted: which map.
        model: reads the answer again, for methods that are not ``free``.
    Raises:
        WordNotInAnswer: the answer does not hold the word or the token; lists the words.
        VlmDemoError: no attention was recorded, or there is no such picture or method, or this model lacks it.
    """
    if answer.trace is None:
        raise VlmDemoError("No attention was recorded for this answer: choose a model that can explain itself.")
    image, name, layer, head = wanted.image, wanted.method, wanted.layer, wanted.head
    if not -len(answer.views) <= image < len(answer.views):
        raise VlmDemoError(f"There is no picture {image}: this answer is about {len(answer.views)}, counted from 0.")
    default = answer.trace.settings
    if name is None:
        name = default.method if layer is None and head is None else SELECTED
    if name not in BY_NAME:
        raise VlmDemoError(f"There is no heatmap method {name}: choose one of {', '.join(BY_NAME)}.")
    # The checkpoint's layers belong to its default method; another one asked for by name looks at all.
    settings = default if name == default.method else replace(default, method=name, layers=None)
    steps = tuple(answer.steps(wanted.word))
    inputs = MapInputs(answer, steps, image % len(answer.views), settings, layer, head, model)
    chosen = BY_NAME[name]
    reason = missing(chosen, inputs)
    if reason and chosen.name != default.method:  # a checkpoint's default is always drawn, from what is there
        raise VlmDemoError(reason)
    if not chosen.selectable and (layer is not None or head is not None):
        raise VlmDemoError(f"{chosen.title} joins layers and heads by itself: choose {SELECTED} to see a single one.")
    return chosen, inputs


def missing(method: Method, inputs: MapInputs) -> str | None:
    """Why this model and answer can't have a map of this method, in one sentence; None where they can."""
    if not method.free and inputs.model is None:
        return AGAIN.format(title=method.title)
    return method.lacks(inputs)


def offered(answer: Answer, model: TeacherForcing | None = None) -> dict[str, str | None]:
    """Every method's name, and why this answer can't have it; None where it can. Empty where nothing was recorded."""
    if answer.trace is None:
        return {}
    inputs = MapInputs(answer, (), 0, answer.trace.settings, model=model)
    return {method.name: missing(method, inputs) for method in TABLE}


def draw(method: Method, inputs: MapInputs) -> np.ndarray:
    """The map: float32 [H, W] in the upload's own pixels, 0..1."""
    return interpolate(method.cells(inputs), inputs.view)


class RecordedMaps:
    """Draws an answer's maps of what was recorded while it was written (a `contracts.MapDrawer`); no model is asked."""

    def cells(self, answer: Answer, wanted: MapRequest) -> np.ndarray:
        """float [patches] of the picture, row by row of its view's grid; see `choose`."""
        method, inputs = choose(answer, wanted)
        return method.cells(inputs)

    def heatmap(self, answer: Answer, wanted: MapRequest) -> np.ndarray:
        """float32 [H, W] in the upload's own pixels, 0..1; see `choose`."""
        return draw(*choose(answer, wanted))


RECORDED = RecordedMaps()

__all__ = [
    "BY_NAME",
    "RECORDED",
    "TABLE",
    "Method",
    "RecordedMaps",
    "MapInputs",
    "choose",
    "draw",
    "missing",
    "offered",
]
