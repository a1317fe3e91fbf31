"""Pictures → what the page can show: small data URIs, so that no visitor's picture is written to disk to be shown."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
from PIL import Image

from vlm_demo.contracts import View
from vlm_demo.images.formats import formats
from vlm_demo.ui.tabs.inspect.map_options import MapOptions

PREVIEW = 420  # longest side of a picture in the chat, CSS pixels
THUMBNAIL = 192  # longest side of a picture in a table: twice its column, for sharp screens
LARGE = 1040  # longest side of a picture in the inspector: twice its column, for sharp screens


def shrunk(image: Image.Image, longest: int) -> Image.Image:
    """``image`` with its longer side at most ``longest`` pixels, never enlarged."""
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BOX)


def data_uri(image: Image.Image, lossless: bool = False) -> str:
    """``image`` (RGB) as a data URI: JPEG, or PNG where single pixels matter."""
    if lossless:
        return file_uri("image/png", png(image))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88, subsampling=0)
    return file_uri("image/jpeg", buffer.getvalue())


def file_uri(kind: str, content: bytes) -> str:
    """A file's content and its MIME type as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def png(image: Image.Image) -> bytes:
    """``image`` as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    """``array`` as a NumPy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def preview(image: Image.Image) -> str:
    """The picture in its chat bubble."""
    return data_uri(shrunk(image, PREVIEW))


def thumbnail(uri: str) -> str:
    """A preview made smaller still, for a table; both data URIs."""
    preview = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])), formats=formats())
    return data_uri(shrunk(preview.convert("RGB"), THUMBNAIL))


def small(view: View) -> View:
    """The same view of a picture shrunk to the inspector's size; its boxes lie in the shrunk picture's pixels."""
    image = shrunk(view.image, LARGE)
    scale = np.array([image.width / view.size[0], image.height / view.size[1]] * 2, dtype=np.float32)
    return replace(view, image=image, size=image.size, boxes=view.boxes * scale)


def overlay(heat: np.ndarray, view: View, options: MapOptions) -> Image.Image:
    """A map over its picture, in the colours and with the grid that were chosen."""
    from vlm_demo.images import overlay as drawing

    (left, top), (right, bottom) = view.boxes[0][:2], view.boxes[-1][2:]
    whole = max(abs(left), abs(top), abs(view.size[0] - right), abs(view.size[1] - bottom)) < 1
    patches = view.grid if whole else view.boxes
    return drawing.overlay(view.image, heat, options.opacity, options.colormap, patches if options.grid else None)
