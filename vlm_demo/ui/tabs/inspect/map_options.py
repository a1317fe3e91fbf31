"""Look: how the inspector draws the answer that is looked at. What a person chose there, and nothing of the answer."""

from __future__ import annotations

from dataclasses import dataclass


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
