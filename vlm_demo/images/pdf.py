"""PDF: one page of a document → a picture of it, drawn by PDFium in a process of its own (``pdf_worker``), which ends
when it takes too long or too much memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from vlm_demo.errors import BadImage
from vlm_demo.images.places import one_of

DOTS = 200  # an inch, as a scan for reading text has
LONGEST = 4000  # pixels of a side; larger pages are drawn with fewer dots
SECONDS = 40.0  # that the process may take; ``pdf_worker`` limits its processor time and memory
WORKER = Path(__file__).with_name("pdf_worker.py")
# How many are read at a time.
_PLACES = threading.BoundedSemaphore(2)


def page(
    data: bytes, number: int | None, cancelled: Callable[[], bool] | None = None
) -> tuple[Image.Image, tuple[str, ...]]:
    """Draw a page.

    Args:
        data: the file.
        number: from 1; None = the first.
        cancelled: polled while other files are read.
    Returns:
        RGB on white, and notes for the person.
    Raises:
        BadImage: it can't be read, is locked, takes too much, or has no such page.
        Stopped: ``cancelled()`` turned True.
    """
    wanted = 1 if number is None else number
    found, pixels = _read(data, "page", wanted, DOTS, LONGEST, cancelled=cancelled)
    count, error = found["count"], found.get("error")
    if error == "locked":
        raise BadImage("This PDF is locked by a password: save it without one, and try once more.")
    if error == "missing":
        raise no_such(wanted, count, "page") if count else BadImage("This PDF has no pages: choose another one.")
    if error == "elongated":
        width, height = found["points"]
        raise BadImage(f"This page is {width:,.0f} × {height:,.0f} points, too elongated to be seen: crop it first.")
    if error:
        raise BadImage("This PDF is damaged or incomplete: save or download it again, and try once more.")
    image = Image.frombytes("RGB", tuple(found["size"]), pixels)
    return image, (f"Only page {wanted} of {count} is shown to the model.",) if count > 1 else ()


def count(data: bytes) -> int:
    """How many pages a file has; 1 where it can't be read (`page` says why)."""
    try:
        return max(1, int(_read(data, "count")[0]["count"]))
    except BadImage:
        return 1


def _read(
    data: bytes, task: str, *numbers: int, cancelled: Callable[[], bool] | None = None
) -> tuple[dict[str, Any], bytes]:
    """What the process writes: an object, and pixels; see ``pdf_worker``."""
    command = [sys.executable, "-P", str(WORKER), task, *map(str, numbers)]
    try:
        with one_of(_PLACES, cancelled):
            done = subprocess.run(command, input=data, capture_output=True, check=True, timeout=SECONDS)
        head, _, pixels = done.stdout.partition(b"\n")
        return json.loads(head), pixels
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        raise BadImage(
            "This PDF takes too much time or memory to be drawn: save the page as a picture, and open that."
        ) from error


def no_such(number: int, count: int, kind: str) -> BadImage:
    """There are fewer pages or frames than the number that was asked for."""
    kinds = f"one {kind}" if count == 1 else f"{count} {kind}s"
    choose = "leave the number away" if count == 1 else f"choose 1 to {count}"
    return BadImage(f"This file has {kinds}, and no {kind} {number}: {choose}.")
