"""PDF: one page of a document → a picture of it."""

from __future__ import annotations

import math
import threading

import pypdfium2
from PIL import Image

from vlm_demo.errors import BadImage

DOTS = 200  # an inch, as a scan for reading text has
LONGEST = 4000  # pixels of a side; larger pages are drawn with fewer dots
POINTS = 72  # an inch, the unit of a page's size
# PDFium is not made for several threads at once.
_LOCK = threading.Lock()


def page(data: bytes, number: int | None) -> tuple[Image.Image, tuple[str, ...]]:
    """Draw a page.

    Args:
        data: the file.
        number: from 1; None = the first.
    Returns:
        RGB on white, and notes for the person.
    Raises:
        BadImage: it can't be read, is locked, or has no such page.
    """
    with _LOCK:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            if getattr(error, "err_code", None) == pypdfium2.raw.FPDF_ERR_PASSWORD:
                raise BadImage("This PDF is locked by a password: save it without one, and try once more.") from error
            raise _damaged() from error
        try:
            return _drawn(document, number)
        except pypdfium2.PdfiumError as error:
            raise _damaged() from error
        finally:
            document.close()


def count(data: bytes) -> int:
    """How many pages a file has; 1 where it can't be read (`page` says why)."""
    with _LOCK:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError:
            return 1
        try:
            return max(1, len(document))
        finally:
            document.close()


def _damaged() -> BadImage:
    return BadImage("This PDF is damaged or incomplete: save or download it again, and try once more.")


def _drawn(document: pypdfium2.PdfDocument, number: int | None) -> tuple[Image.Image, tuple[str, ...]]:
    count = len(document)
    if not count:
        raise BadImage("This PDF has no pages: choose another one.")
    if number is not None and not 1 <= number <= count:
        raise no_such(number, count, "page")
    found = document[(number or 1) - 1]
    width, height = found.get_size()
    if not (math.isfinite(width) and math.isfinite(height) and min(width, height) > 0):
        raise _damaged()
    scale = min(DOTS / POINTS, LONGEST / max(width, height))
    if min(width, height) * scale < 1:
        raise BadImage(f"This page is {width:,.0f} × {height:,.0f} points, too elongated to be seen: crop it first.")
    image = found.render(scale=scale, may_draw_forms=False).to_pil().convert("RGB")
    return image, (f"Only page {number or 1} of {count} is shown to the model.",) if count > 1 else ()


def no_such(number: int, count: int, kind: str) -> BadImage:
    """There are fewer pages or frames than the number that was asked for."""
    kinds = f"one {kind}" if count == 1 else f"{count} {kind}s"
    choose = "leave the number away" if count == 1 else f"choose 1 to {count}"
    return BadImage(f"This file has {kinds}, and no {kind} {number}: {choose}.")
