"""OCR: an upload at full resolution → the text printed in it, word by word, by Tesseract.

Talks to the program through pipes: no file of the person is written anywhere. Knows nothing of the question.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence

from PIL import Image

from vlm_demo.contracts import OcrResult, OcrWord
from vlm_demo.errors import OcrUnavailable
from vlm_demo.stages.guard import Cancelled, check

PROGRAM = "tesseract"
LANGUAGE = "eng"
LAYOUT = "6"  # one block of text: a receipt's prices stay on the lines of their goods
LEAST_CONFIDENCE = 30.0  # below, it is mostly letters seen in shapes
LONGEST_SIDE = 32_000  # Tesseract takes no more than 32,767 pixels a side
POLL_SECONDS = 0.05
LONGEST_SECONDS = 300.0
INSTALL = "Reading text needs Tesseract: install it with `sudo apt-get install tesseract-ocr`, then start again."


def available() -> str | None:
    """None if text can be read, or else one sentence that says how to get there."""
    if shutil.which(PROGRAM) is None:
        return INSTALL
    try:
        told = subprocess.run([PROGRAM, "--list-langs"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "Tesseract is installed but does not run: install it again with `sudo apt-get install tesseract-ocr`."
    if LANGUAGE not in (told.stdout + told.stderr).split():
        return "Tesseract lacks its English data: install it with `sudo apt-get install tesseract-ocr-eng`."
    return None


def read(image: Image.Image, cancelled: Cancelled | None = None) -> OcrResult:
    """Read the text of a picture.

    Args:
        image: upright, RGB.
        cancelled: asked all the time; the program is ended when it turns True.
    Returns:
        The words in reading order with their boxes in the picture's pixels, and the text with a line break a line.
    Raises:
        OcrUnavailable: Tesseract is missing or fails; says what to do.
        Stopped: ``cancelled()`` turned True.
    """
    began = time.perf_counter()
    shrink = min(1.0, LONGEST_SIDE / max(image.size))
    shown = image if shrink == 1 else image.resize([max(1, round(side * shrink)) for side in image.size])
    buffer = io.BytesIO()
    shown.convert("RGB").save(buffer, "PPM")
    lines = list(_lines(_run(buffer.getvalue(), cancelled), 1 / shrink))
    text = "\n".join(" ".join(word.text for word in line) for line in lines)
    return OcrResult(text, tuple(word for line in lines for word in line), time.perf_counter() - began)


def merged(results: Sequence[OcrResult]) -> OcrResult | None:
    """The reading of several pictures as one result, None for no picture. Boxes stay in their own picture."""
    if len(results) <= 1:
        return results[0] if results else None
    text = "\n".join(result.text for result in results if result.text)
    words = tuple(word for result in results for word in result.words)
    return OcrResult(text, words, sum(result.seconds for result in results))


def _run(picture: bytes, cancelled: Cancelled | None) -> str:
    """Give Tesseract a picture; returns its table."""
    # Its own threads gain little on one picture, and take the cores from the model.
    settings = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    command = [PROGRAM, "stdin", "stdout", "-l", LANGUAGE, "--psm", LAYOUT, "tsv"]
    try:
        program = subprocess.Popen(
            command, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise OcrUnavailable(INSTALL) from error
    told: list[bytes] = []
    talk = threading.Thread(target=lambda: told.append(program.communicate(picture)[0]), daemon=True)
    talk.start()
    try:
        deadline = time.monotonic() + LONGEST_SECONDS
        while talk.is_alive():
            check(cancelled)
            if time.monotonic() > deadline:
                raise OcrUnavailable("Tesseract takes too long for this picture: crop it, or turn OCR off.")
            talk.join(POLL_SECONDS)
    finally:
        if program.poll() is None:
            program.kill()
        talk.join(5)
    if program.returncode or not told:
        problem = "Tesseract cannot read this picture: crop or enlarge it, or turn OCR off."
        raise OcrUnavailable(available() or problem)
    return told[0].decode("utf-8", "replace")


def _lines(table: str, scale: float) -> Iterator[list[OcrWord]]:
    """Tesseract's TSV → lines of words, boxes multiplied by ``scale``."""
    header, *rows = table.splitlines()
    names = header.split("\t")
    place: tuple[str, ...] | None = None
    line: list[OcrWord] = []
    for row in rows:
        held = dict(zip(names, row.split("\t"), strict=False))
        text = held.get("text", "").strip()
        if held.get("level") != "5" or not text or float(held["conf"]) < LEAST_CONFIDENCE:
            continue
        here = tuple(held[name] for name in ("block_num", "par_num", "line_num"))
        if here != place and line:
            yield line
            line = []
        place = here
        left, top, width, height = (float(held[name]) * scale for name in ("left", "top", "width", "height"))
        box = (round(left), round(top), round(left + width), round(top + height))
        line.append(OcrWord(text, box, float(held["conf"])))
    if line:
        yield line
