"""Encoder: pixels → patch features, "the camera's notes".

Knows the vision tower and which of its layers the checkpoint reads; not what will be asked about the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from vlm_demo.contracts import Patches, View

if TYPE_CHECKING:
    from vlm_demo.models.families import Family
    from vlm_demo.stages.guard import Cancelled, Guard


class Encoder:
    """The vision tower as a station."""

    def __init__(self, family: Family, guard: Guard) -> None:
        self.family, self.guard = family, guard

    def __call__(self, pictures: torch.Tensor | View | Sequence[View], cancelled: Cancelled | None = None) -> Patches:
        """Take notes of every picture.

        Args:
            pictures: pixel values [pictures, 3, h, w] as the image processor makes them, or the views that hold them.
            cancelled: asked before every layer.
        Returns:
            Patches with features [pictures, patches, d_vision].
        Raises:
            Stopped: ``cancelled()`` turned True.
        """
        if isinstance(pictures, View):
            pictures = [pictures]
        if not isinstance(pictures, torch.Tensor):
            pictures = torch.cat([view.pixel_values for view in pictures])
        with self.guard.computing(cancelled):
            return Patches(self.family.encode(pictures))
