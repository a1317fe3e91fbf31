"""Learn state: the tab's results for one answer so far. Knows neither HTML nor the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlm_demo.ui.tabs.learn.anatomy_summary import AnatomySummary
    from vlm_demo.ui.tabs.learn.losses import Contrast, Match, NextWord


@dataclass(eq=False)
class LearnState:
    """The tab's results for one answer.

    Attributes:
        summary: of its anatomy; None until computed.
        problem: why it could not be computed.
        text: what ITC and ITM compare with the picture, where edited.
        contrast, match, lm: the losses, as far as computed.
        refused: of "ITC" and "ITM", why it could not be computed.
        reading: whether its anatomy is being computed.
        doing: which of the losses is being computed, in words.
    """

    summary: AnatomySummary | None = None
    problem: str = ""
    text: str = ""
    contrast: Contrast | None = None
    match: Match | None = None
    lm: NextWord | None = None
    refused: dict[str, str] = field(default_factory=dict)
    reading: bool = False
    doing: str = ""
