"""View: an upload → the pixels that the model gets, and where each patch lies in the upload.

Knows the checkpoint's image processor, not its model; opening the file is ``images.open``'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from vlm_demo.contracts import View
from vlm_demo.errors import BadImage
from vlm_demo.images.open import Source, open_image
from vlm_demo.images.remote_pictures import NOTHING, RemotePictures
from vlm_demo.models.patch_geometry import Cut, Geometry, too_elongated
from vlm_demo.runtime.pixel_view import PixelView

# A picture of more is made smaller for the image processor: itself, or the square that it is padded to. A phone's
# photo of 4,032 × 3,024 is not.
GIVEN_PIXELS, PADDED_PIXELS = 12_500_000, 17_000_000
AIMED_PIXELS = 8_000_000


class ViewMaker:
    """Upload → PixelView, by the checkpoint's own image processor.

    ``cut(processor, image)`` is the family's: it knows how this processor lays pictures out. ``remote`` fetches those
    that an address names.
    """

    def __init__(
        self, processor: Any, cut: Callable[[Any, Image.Image], Cut], remote: RemotePictures = NOTHING
    ) -> None:
        self.processor, self.cut, self.remote = processor, cut, remote

    def __call__(
        self,
        source: Source,
        visitor: str = "",
        *,
        cancelled: Callable[[], bool] | None = None,
        most_pixels: int | None = None,
    ) -> PixelView:
        """Open, process and measure one upload.

        Args:
            visitor: whose picture it is, see ``contracts.engine.Request``.
            cancelled: polled while others are opened.
            most_pixels: that are kept of it, see ``images.open.open_image``.
        Raises:
            BadImage: see ``images.open.open_image``, and ``images.remote`` for an address on the web; or the picture is
                too elongated for the model.
            UnsupportedModel: the processor cuts pictures in a way unknown here, so patches can't be placed.
            Stopped: ``cancelled()`` turned True.
        """
        image, notes = open_image(self.remote(source), cancelled=cancelled, most_pixels=most_pixels)
        processor_input = self._processor_input(image)
        if processor_input is image:
            layout = self.cut(self.processor, image)
        else:
            try:
                layout = self.cut(self.processor, processor_input)
            except BadImage:  # its message names the size of the reduced picture
                raise too_elongated(image.size) from None
            layout = layout.of_larger((image.width / processor_input.width, image.height / processor_input.height))
        finest = layout.patch_grids[0]
        return PixelView(
            image=image,
            size=image.size,
            pixel_values=layout.pixel_values,
            given_size=processor_input.size,
            processed=self._denormalised(layout.shown),
            grid=finest.grid,
            boxes=finest.boxes,
            notes=(*notes, *_outside_view(layout.place, image.size)),
            patch_grids=layout.patch_grids,
            tiling=layout.tiling,
            tiles=len(layout.pixel_values),
            visitor=visitor,
        )

    def with_pixels(self, view: View) -> PixelView:
        """The pixels of a view: its own, or made again of its picture, which gives the same ones."""
        return view if isinstance(view, PixelView) else self(view.image, view.visitor)

    def _processor_input(self, image: Image.Image) -> Image.Image:
        """What the image processor gets: a large picture smaller, so that its copies, and the square that some pad it
        to, take little memory. It makes it much smaller anyway."""
        pads = getattr(self.processor, "do_pad", False) and hasattr(self.processor, "pad_to_square")
        times = times_smaller(image.size, pads)
        return image if times == 1 else image.reduce(times)

    def _denormalised(self, pixels: torch.Tensor) -> np.ndarray:
        """Normalised [3, h, w] → uint8 [h, w, 3]; uint8 is taken as it is."""
        if pixels.dtype == torch.uint8:
            return pixels.permute(1, 2, 0).numpy()
        shown = pixels.permute(1, 2, 0).float().numpy()
        if self.processor.do_normalize:
            shown = shown * np.array(self.processor.image_std) + np.array(self.processor.image_mean)
        if self.processor.do_rescale:
            shown = shown / self.processor.rescale_factor
        return shown.round().clip(0, 255).astype(np.uint8)


def times_smaller(size: tuple[int, int], pads: bool = False) -> int:
    """How many times smaller the image processor gets a picture of (width, height); 1 = as it is.

    Args:
        pads: whether the processor pads it to a square.
    """
    pixels = max(size) ** 2 if pads else size[0] * size[1]
    if pixels <= (PADDED_PIXELS if pads else GIVEN_PIXELS):
        return 1
    return math.ceil(math.sqrt(pixels / AIMED_PIXELS))


def _outside_view(place: Geometry, size: tuple[int, int]) -> tuple[str, ...]:
    """A sentence on what of the upload lies outside the model's view; none where all of it is inside."""
    x0, y0, x1, y1 = place.to_upload(np.array([[0, 0, *place.size]]))[0]
    sides = {"left": x0, "right": size[0] - x1, "top": y0, "bottom": size[1] - y1}
    cut = [f"{round(float(pixels))} pixels at the {side}" for side, pixels in sides.items() if pixels >= 0.5]
    return (f"The model does not see {_listed(cut)}.",) if cut else ()


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
