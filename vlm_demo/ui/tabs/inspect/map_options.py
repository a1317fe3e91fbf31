"""Look: how the inspector draws the answer that is looked at. What a person chose there, and nothing of the answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlm_demo.ui.chat_turn import ChatTurn


@dataclass
class MapOptions:
    """How maps are drawn, and what of the answer is singled out.

    Attributes:
        opacity: 0..1, how much of the picture the hottest place hides.
        colormap: one of ``explain.overlay.COLORMAPS``.
        grid: whether patches are drawn.
        method: how layers and heads are joined; None = the checkpoint's own way.
        head: (layer, head) whose map is shown alone; None = the method's.
        patch: (picture, patch) that was pressed.
        picture: whose heads are shown one by one.
        block: which part of the heads, where there are more than one page holds.
    """

    opacity: float = 0.6
    colormap: str = "magma"
    grid: bool = False
    method: str | None = None
    head: tuple[int, int] | None = None
    patch: tuple[int, int] | None = None
    picture: int = 0
    block: int = 0

    def forget(self) -> None:
        """Another answer is looked at: what was singled out in the last one means nothing in it."""
        self.head = self.patch = None
        self.picture = self.block = 0


@dataclass(eq=False)
class Job:
    """Maps of one word that the model has to be asked for.

    Attributes:
        wanted: the exchange, the index of the word in its answer, and the method.
        running: whether it is its turn.
        problem: the sentence that stands where the map would be, if it failed.
        stop: set to end the computing.
    """

    wanted: tuple[ChatTurn, int, str]
    running: bool = False
    problem: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
