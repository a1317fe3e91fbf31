"""Pages: a file's bytes → how many pages (PDF) or frames (GIF, TIFF, WebP, ...) one may choose of; draws none."""

from __future__ import annotations

import io
from typing import Literal

from PIL import Image

from vlm_demo.images import pdf
from vlm_demo.images.decode import check_icon
from vlm_demo.images.formats import HEAD, formats, is_pdf, refusal

Kind = Literal["page", "frame"]


def pages_in(content: bytes) -> tuple[Kind, int]:
    """What a file is divided into, and into how many; one frame where that is unknown (opening it says why)."""
    head = content[:HEAD]
    if is_pdf(head):
        return "page", pdf.count(content)
    if not head or refusal(head):
        return "frame", 1
    try:
        check_icon(io.BytesIO(content))
        with Image.open(io.BytesIO(content), formats=formats()) as image:
            # A camera's MPO holds a preview and the photo, and the preview is no second frame.
            return "frame", 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    except Exception:  # decoders raise anything on crafted files
        return "frame", 1
