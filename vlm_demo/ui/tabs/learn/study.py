"""Study: what the tab knows of one answer so far. Knows neither HTML nor the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlm_demo.ui.tabs.learn.lesson import Lesson
    from vlm_demo.ui.tabs.learn.losses import Contrast, Match, NextWord


@dataclass(eq=False)
class Study:
    """What the tab knows of one answer.

    Attributes:
        lesson: what was found inside; None until it was looked for.
        problem: why nothing was found.
        text: what ITC and ITM compare with the picture, where the person changed it.
        contrast, match, lm: the losses, as far as they were computed.
        refused: of "ITC" and "ITM", why it could not be computed.
        doing: what is being computed, in words.
    """

    lesson: Lesson | None = None
    problem: str = ""
    text: str = ""
    contrast: Contrast | None = None
    match: Match | None = None
    lm: NextWord | None = None
    refused: dict[str, str] = field(default_factory=dict)
    doing: str = ""
