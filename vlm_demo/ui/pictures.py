"""Pictures → what the page can show: small data URIs, so that nothing of a visitor is written to disk to be seen."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
from PIL import Image

from vlm_demo.contracts import View

PREVIEW = 420  # longest side of a picture in the chat, CSS pixels
LARGE = 1040  # longest side of a picture in the inspector: twice its column, for sharp screens


def shrunk(image: Image.Image, longest: int) -> Image.Image:
    """``image`` with its longer side at most ``longest`` pixels, never enlarged."""
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BOX)


def data_uri(image: Image.Image, lossless: bool = False) -> str:
    """``image`` (RGB) as a data URI: JPEG, or PNG where single pixels matter."""
    buffer = io.BytesIO()
    if lossless:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=88, subsampling=0)
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def preview(image: Image.Image) -> str:
    """The picture in its chat bubble."""
    return data_uri(shrunk(image, PREVIEW))


def small(view: View) -> View:
    """The same view of a picture shrunk to the inspector's size; its boxes lie in the shrunk picture's pixels."""
    image = shrunk(view.image, LARGE)
    scale = np.array([image.width / view.size[0], image.height / view.size[1]] * 2, dtype=np.float32)
    return replace(view, image=image, size=image.size, boxes=view.boxes * scale)


def overlay(heat: np.ndarray, view: View, opacity: float, grid: bool) -> Image.Image:
    """A map over its picture, with the patches drawn if ``grid``."""
    from vlm_demo.explain import overlay as drawing

    (left, top), (right, bottom) = view.boxes[0][:2], view.boxes[-1][2:]
    whole = max(abs(left), abs(top), abs(view.size[0] - right), abs(view.size[1] - bottom)) < 1
    return drawing.overlay(
        view.image, heat, opacity=opacity, grid=(view.grid if whole else view.boxes) if grid else None
    )
