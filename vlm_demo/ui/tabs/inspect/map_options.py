"""Map options: how the inspector draws the shown answer. A person's choices, and nothing of the answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class MapOptions:
    """How maps are drawn, and what is selected.

    Attributes:
        opacity: 0..1, of the map's peak over the picture.
        colormap: one of ``explain.overlay.COLORMAPS``.
        grid: whether patches are drawn.
        method: how layers and heads are combined; None = the checkpoint's default.
        head: (layer, head) whose map is shown alone; None = the method's.
        patch: the selected (picture, patch).
        picture: whose heads are shown one by one.
        block: which page of the table of heads.
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
        """Reset the selection, which does not apply to another answer."""
        self.head = self.patch = None
        self.picture = self.block = 0
