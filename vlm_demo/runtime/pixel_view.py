"""Pixel view: what the model really sees of one upload, with the tensor that the encoder is given.

It stays inside the pipeline: what leaves is its ``geometry``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch

from vlm_demo.contracts import View


@dataclass(frozen=True, kw_only=True)
class PixelView(View):
    """A view and its pixels.

    Attributes:
        pixel_values: float tensor [tiles, 3, h, w], exactly what the checkpoint's image processor made.
        given_size: (width, height) of what the image processor was given: of ``image``, or of it made smaller.
    """

    pixel_values: torch.Tensor = field(repr=False)
    given_size: tuple[int, int]

    @property
    def geometry(self) -> View:
        """The same without the tensor."""
        return View(**{field.name: getattr(self, field.name) for field in fields(View)})
