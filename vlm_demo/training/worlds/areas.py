"""Areas: the parts of the drawn world, each with its pictures and what can be asked about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vlm_demo.training.worlds import (
    chart_questions,
    document_questions,
    scene_questions,
    screen_questions,
    solid_questions,
)
from vlm_demo.training.worlds.asking import Makers
from vlm_demo.training.worlds.charts import draw_chart
from vlm_demo.training.worlds.documents import draw_document
from vlm_demo.training.worlds.scenes import draw_scene
from vlm_demo.training.worlds.screens import draw_screen
from vlm_demo.training.worlds.solids import draw_solids
from vlm_demo.training.worlds.world import Picture


@dataclass(frozen=True)
class Area:
    """One kind of picture.

    Attributes:
        draw: ``draw(rng, held_out)`` → a picture whose ``kind`` is the area's name; ``held_out`` draws it with the
            fonts and the renderer that training never sees.
        makers: ``makers(picture, rng, read)`` → what can be asked, each with its weight; ``read`` are the OCR lines
            of the prompt, or None if OCR is off.
        reads: the share of its questions that are asked with OCR on.
    """

    draw: Callable[[np.random.Generator, bool], Picture]
    makers: Callable[[Picture, np.random.Generator, list[str] | None], Makers]
    reads: float = 0.0


AREAS: dict[str, Area] = {
    "scenes": Area(lambda rng, held_out: draw_scene(rng), scene_questions.makers),
    "solids": Area(draw_solids, solid_questions.makers),
    "charts": Area(draw_chart, chart_questions.makers, 0.5),
    "screens": Area(draw_screen, screen_questions.makers, 0.7),
    "documents": Area(draw_document, document_questions.makers, 0.9),
}
