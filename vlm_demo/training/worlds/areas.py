"""Areas: the parts of the drawn world, each with its pictures and what can be asked about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vlm_demo.training.worlds.asker import Asker
from vlm_demo.training.worlds.chart_questions import ChartAsker
from vlm_demo.training.worlds.charts import draw_chart
from vlm_demo.training.worlds.document_questions import DocumentAsker
from vlm_demo.training.worlds.documents import draw_document
from vlm_demo.training.worlds.scene_questions import SceneAsker
from vlm_demo.training.worlds.scenes import draw_scene
from vlm_demo.training.worlds.screen_questions import ScreenAsker
from vlm_demo.training.worlds.screens import draw_screen
from vlm_demo.training.worlds.world import DrawnPicture


@dataclass(frozen=True)
class Area:
    """One kind of picture.

    Attributes:
        draw: ``draw(rng, held_out)`` → a picture whose ``kind`` is the area's name; ``held_out`` draws it with the
            fonts and the style that training never sees.
        asker: ``asker(picture, rng, ocr_lines)`` → what makes its questions; the OCR lines are those of the prompt, or
            None if OCR is off.
        reads: the share of its questions that are asked with OCR on.
    """

    draw: Callable[[np.random.Generator, bool], DrawnPicture]
    asker: Callable[[DrawnPicture, np.random.Generator, list[str] | None], Asker]
    reads: float = 0.0


AREAS: dict[str, Area] = {
    "scenes": Area(lambda rng, held_out: draw_scene(rng), SceneAsker),
    "charts": Area(draw_chart, ChartAsker, 0.5),
    "screens": Area(draw_screen, ScreenAsker, 0.7),
    "documents": Area(draw_document, DocumentAsker, 0.9),
}
