"""Scores: how well texts fit a picture."""

from __future__ import annotations

from dataclasses import dataclass, field

from vlm_demo.contracts.events import StageEvent
from vlm_demo.contracts.geometry import View


@dataclass(frozen=True)
class Scores:
    """How well each of some texts fits one picture.

    Attributes:
        texts: as they were given; all other fields follow their order.
        probabilities: 0..1, the softmax over the texts of similarity / temperature; they sum to 1.
        similarities: -1..1, the cosine of picture and text; where the picture has several vectors, of the nearest one.
        temperature: the checkpoint's; the lower, the sharper the probabilities.
        matches: 0..1, the probability that the text, by itself, fits the picture, from a head that reads both
            together; None where the model has no such head.
        view: the picture as the model saw it.
        stages: the stages with their times and shapes.
        model: the model's name.
    """

    texts: tuple[str, ...]
    probabilities: tuple[float, ...]
    similarities: tuple[float, ...]
    temperature: float
    matches: tuple[float, ...] | None
    view: View = field(repr=False)
    stages: tuple[StageEvent, ...]
    model: str
