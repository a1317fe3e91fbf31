"""Hide: a part of a picture → the picture without it, behind a blur of itself or a plain grey.

A blur removes a thing without adding a new one; grey leaves nothing at all.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

BLUR = 1 / 8  # the Gaussian's standard deviation as a share of the picture's longer side
GREY = (127, 127, 127)
WAYS = ("blur", "grey")


def blurred(image: Image.Image) -> Image.Image:
    """The whole picture, blurred until nothing in it can be recognised."""
    return image.filter(ImageFilter.GaussianBlur(BLUR * max(image.size)))


def hide(image: Image.Image, mask: np.ndarray, way: str = "blur") -> Image.Image:
    """The picture with a part of it hidden.

    Args:
        image: RGB.
        mask: bool [h, w] of any size, True = hidden; it is stretched over the picture.
        way: one of ``WAYS``.
    Returns:
        RGB, of the picture's size. What is not hidden has the very pixels that it had.
    Raises:
        ValueError: there is no such way.
    """
    if way not in WAYS:
        raise ValueError(f"way must be one of {', '.join(WAYS)}, not {way}")
    cover = blurred(image) if way == "blur" else Image.new("RGB", image.size, GREY)
    stencil = Image.fromarray(mask.astype(np.uint8) * 255).resize(image.size, Image.Resampling.NEAREST)
    return Image.composite(cover, image, stencil)
