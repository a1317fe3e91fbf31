"""How many pages or frames a file is divided into, without opening any of them."""

from __future__ import annotations

import io

import pypdfium2
import pytest
from PIL import Image

from vlm_demo.images.pages import pages_in


def saved(kind: str, count: int) -> bytes:
    """A file of so many pages or frames, each of another colour."""
    buffer = io.BytesIO()
    if kind == "PDF":
        document = pypdfium2.PdfDocument.new()
        for _ in range(count):
            document.new_page(200, 100)
        document.save(buffer)
        return buffer.getvalue()
    frames = [Image.new("RGB", (20, 10), (40 * i, 90, 200 - 40 * i)) for i in range(count)]
    more = {"save_all": True, "append_images": frames[1:]} if count > 1 else {}
    frames[0].save(buffer, kind, **more)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PDF", "GIF", "TIFF", "WEBP"])
@pytest.mark.parametrize("count", [1, 3])
def test_pages_and_frames_are_counted(kind, count):
    assert pages_in(saved(kind, count)) == ("page" if kind == "PDF" else "frame", count)


@pytest.mark.parametrize("content", [b"", b"no picture", b"%PDF-1.7 cut off", b"GIF89a"])
def test_what_cannot_be_read_is_one(content):
    assert pages_in(content)[1] == 1
