"""Masking: a view, and which of its patches to hide → the views that the model would get with these patches blurred.

A blur removes a thing without adding a new one. Knows where patches lie, nothing of the question.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from vlm_demo.images.hide import blurred
from vlm_demo.runtime.pixel_view import PixelView


class PatchMasker:
    """Hides patches of one view behind the same picture, blurred.

    Args:
        make: the stage that makes views of pictures.
        view: what the model saw.
    """

    def __init__(self, make: Callable[[Image.Image], PixelView], view: PixelView) -> None:
        self.make, self.view = make, view
        self.blurred = blurred(view.image)
        self._pixels = make(self.blurred).pixel_values

    def __call__(self, masks: np.ndarray) -> list[PixelView]:
        """A view for each of ``masks``, bool [n, patches], True = hidden."""
        pixels = self.view.pixel_values
        if len(pixels) > 1 or len(self.view.patch_grids) > 1:  # patches overlap: hide the place in the upload instead
            return [replace(self.view, pixel_values=self.make(self._covered(mask)).pixel_values) for mask in masks]
        rows, columns = self.view.grid
        height, width = pixels.shape[-2:]
        hidden = np.zeros((len(masks), height, width), bool)
        cells = masks.reshape(-1, rows, columns).repeat(height // rows, 1).repeat(width // columns, 2)
        hidden[:, : cells.shape[1], : cells.shape[2]] = cells
        masked = torch.where(torch.from_numpy(hidden)[:, None], self._pixels, pixels)
        return [replace(self.view, pixel_values=pixels[None]) for pixels in masked]

    def _covered(self, mask: np.ndarray) -> Image.Image:
        """The upload with the blur over the hidden patches."""
        image = self.view.image.copy()
        for x0, y0, x1, y1 in self.view.boxes[mask]:
            box = (max(int(x0), 0), max(int(y0), 0), min(round(x1), image.width), min(round(y1), image.height))
            if box[0] < box[2] and box[1] < box[3]:
                image.paste(self.blurred.crop(box), box[:2])
        return image
