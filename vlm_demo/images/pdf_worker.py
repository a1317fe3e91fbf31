"""PDF worker: reads a PDF from standard input, and writes one page of it to standard output. A program of its own,
which ``pdf`` starts for each file: a small file can ask PDFium for any amount of time and memory.

``pdf_worker.py count`` or ``pdf_worker.py page NUMBER DOTS LONGEST`` (NUMBER from 1; DOTS an inch; LONGEST side in
pixels). The first line that it writes is a JSON object: ``count`` (of pages) and, of a page that was drawn, ``size`` in
pixels, after which its bytes come, RGB; or ``error`` (locked, damaged, missing, elongated) and ``points``.
"""

from __future__ import annotations

import json
import math
import sys
from contextlib import suppress
from typing import Any

import pypdfium2

SECONDS, MOST_BYTES = 20, 1_500_000_000  # of processor time, of addresses
POINTS = 72  # an inch, the unit of a page's size


def limit() -> None:
    """Let the system end this process when it takes too much; not on Windows."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def drawn(document: pypdfium2.PdfDocument, number: int, dots: int, longest: int) -> tuple[dict[str, Any], bytes]:
    """What is written of a page."""
    count = len(document)
    if not 1 <= number <= count:
        return {"error": "missing", "count": count}, b""
    page = document[number - 1]
    width, height = page.get_size()
    if not (math.isfinite(width) and math.isfinite(height) and min(width, height) > 0):
        return {"error": "damaged", "count": count}, b""
    scale = min(dots / POINTS, longest / max(width, height))
    if min(width, height) * scale < 1:
        return {"error": "elongated", "count": count, "points": [width, height]}, b""
    image = page.render(scale=scale, may_draw_forms=False).to_pil().convert("RGB")
    return {"count": count, "size": list(image.size)}, image.tobytes()


def main(task: str, *numbers: str) -> None:
    limit()
    pixels = b""
    try:
        document = pypdfium2.PdfDocument(sys.stdin.buffer.read())
        if task == "count":
            found: dict[str, Any] = {"count": len(document)}
        else:
            number, dots, longest = map(int, numbers)
            found, pixels = drawn(document, number, dots, longest)
    except pypdfium2.PdfiumError as error:
        locked = getattr(error, "err_code", None) == pypdfium2.raw.FPDF_ERR_PASSWORD
        found = {"error": "locked" if locked else "damaged", "count": 0}
    sys.stdout.buffer.write(json.dumps(found).encode() + b"\n" + pixels)


if __name__ == "__main__":
    main(*sys.argv[1:])
