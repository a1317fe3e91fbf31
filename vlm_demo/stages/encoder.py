"""Encoder: pixels → patch features.

Knows the vision tower and which of its layers the checkpoint reads; not the question about the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from vlm_demo.contracts import PatchFeatures
from vlm_demo.runtime.pixel_view import PixelView

if TYPE_CHECKING:
    from vlm_demo.models.adapters import Family
    from vlm_demo.runtime.cancellation import CancellationHooks, Cancelled


class Encoder:
    """The vision tower, callable alone."""

    def __init__(self, family: Family, guard: CancellationHooks) -> None:
        self.family, self.guard = family, guard

    def __call__(
        self, pictures: torch.Tensor | PixelView | Sequence[PixelView], cancelled: Cancelled | None = None
    ) -> PatchFeatures:
        """Encode every picture.

        Args:
            pictures: pixel values [tiles, 3, h, w] as the image processor makes them, or the views that hold them.
            cancelled: asked before every layer.
        Returns:
            Patches with features [tiles of all pictures, patches, d_vision], or [1, all patches, d_vision] where the
            pictures' sizes differ.
        Raises:
            Stopped: ``cancelled()`` turned True.
        """
        views: tuple[PixelView, ...] = ()
        if isinstance(pictures, torch.Tensor):
            tiles = [pictures]
        else:
            views = (pictures,) if isinstance(pictures, PixelView) else tuple(pictures)
            tiles = [view.pixel_values for view in views]

        def encode() -> PatchFeatures:
            if self.family.joint_tiles:
                # The tiles of a picture see each other, so each picture is encoded alone.
                return PatchFeatures(
                    torch.cat([self.family.encode(view.pixel_values, view.tiling) for view in views]), views
                )
            if len({pixels.shape[1:] for pixels in tiles}) == 1:
                return PatchFeatures(self.family.encode(torch.cat(tiles)), views)
            features = [self.family.encode(pixels).flatten(0, 1) for pixels in tiles]
            return PatchFeatures(torch.cat(features)[None], views)

        return self.guard.run(encode, cancelled, gives_way=True)
