"""Tesseract: a picture → its hOCR, by pytesseract in a process of its own, which ends when the person stops.

pytesseract works on files. Here they lie in a private folder for the time of one reading, and are gone after it,
however it ends. Knows neither words nor boxes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

from vlm_demo.errors import OcrUnavailable
from vlm_demo.runtime import tesseract_process
from vlm_demo.runtime.cancellation import POLL_SECONDS, Cancelled, check

LANGUAGE = "eng"
LONGEST_SECONDS = 300.0
FOLDER_VARIABLE = "VLM_DEMO_TEMP_DIR"  # in this folder the private ones are made; unset = the system's
PREFIX = "vlm_demo_"  # of a private folder's name; the process's id follows, by which app.py finds what was left
STRIP = 2_000_000  # pixels that are written between two questions whether to stop
INSTALL = "Reading text needs Tesseract: install it with `sudo apt-get install tesseract-ocr`, then start again."
INSTALL_PACKAGE = "Reading text needs the package pytesseract: install it with `pip install pytesseract`."
INSTALL_AGAIN = "Tesseract is installed but does not run: install it again with `sudo apt-get install tesseract-ocr`."
INSTALL_LANGUAGE = "Tesseract lacks its English data: install it with `sudo apt-get install tesseract-ocr-eng`."
UNREADABLE = "Tesseract cannot read this picture: crop or enlarge it, or turn OCR off."
TOO_LONG = "Tesseract takes too long for this picture: crop it, or turn OCR off."
NOT_STARTED = "Reading text needs a process of its own, which this machine refuses now: try again, or turn OCR off."
NO_SPACE = "Reading text needs a folder for its temporary files, and {} cannot be written: free some space there."


def available() -> str | None:
    """None if text can be read, or else one sentence that says how to get there."""
    try:
        command = program()
    except OcrUnavailable as error:
        return str(error)
    if shutil.which(command) is None:
        return INSTALL
    try:
        told = subprocess.run([command, "--list-langs"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return INSTALL_AGAIN
    if told.returncode < 0:
        return INSTALL_AGAIN
    return None if LANGUAGE in (told.stdout + told.stderr).split() else INSTALL_LANGUAGE


def program() -> str:
    """What pytesseract starts: ``pytesseract.pytesseract.tesseract_cmd``, a name on the PATH or a path.

    Raises:
        OcrUnavailable: pytesseract is not installed.
    """
    try:
        # Imported here, as it brings pandas, and most questions read no text.
        import pytesseract
    except ImportError as error:
        raise OcrUnavailable(INSTALL_PACKAGE) from error
    return pytesseract.pytesseract.tesseract_cmd


def read_hocr(image: Image.Image, mode: int, cancelled: Cancelled | None = None) -> str:
    """Let Tesseract read a picture.

    Args:
        image: RGB, of no more than 32,767 pixels a side.
        mode: how Tesseract segments a page, its ``--psm``.
        cancelled: asked every twentieth of a second; the program is ended when it turns True.
    Returns:
        hOCR (http://kba.github.io/hocr-spec/1.2/) with boxes of letters, in the pixels of ``image``.
    Raises:
        OcrUnavailable: Tesseract is missing, fails, or takes longer than `LONGEST_SECONDS`; says what to do.
        Stopped: ``cancelled()`` turned True.
    """
    command = program()
    try:
        with _private_folder() as folder:
            picture = folder / "picture.ppm"
            _write(image, picture, cancelled)
            status = _run(command, picture, f"--psm {mode} -c hocr_char_boxes=1", cancelled)
            if status == tesseract_process.DONE:
                return Path(f"{picture}{tesseract_process.HOCR}").read_text("utf-8", "replace")
    except OSError as error:
        raise OcrUnavailable(NO_SPACE.format(os.environ.get(FOLDER_VARIABLE) or tempfile.gettempdir())) from error
    raise OcrUnavailable(INSTALL if status == tesseract_process.MISSING else available() or UNREADABLE)


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder that only this user can read, and that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}_", dir=os.environ.get(FOLDER_VARIABLE) or None))
    try:
        yield folder
    finally:
        # A program that was killed this very moment may still be making a file.
        for _ in range(20):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.01)


def _write(image: Image.Image, path: Path, cancelled: Cancelled | None) -> None:
    """As PPM, which takes no time to pack; strip by strip, as a large picture takes longer than a stop may."""
    rows = max(1, STRIP // image.width)
    with path.open("wb") as file:
        file.write(f"P6 {image.width} {image.height} 255\n".encode())
        for top in range(0, image.height, rows):
            check(cancelled)
            strip = image.crop((0, top, image.width, min(top + rows, image.height)))
            file.write(strip.convert("RGB").tobytes())


def _run(command: str, picture: Path, config: str, cancelled: Cancelled | None) -> int:
    """Have a picture's hOCR written beside it; returns the exit status of `tesseract_process`."""
    told = [command, LANGUAGE, config, str(LONGEST_SECONDS), str(picture)]
    # Tesseract's own threads gain little on one picture, and take the cores from the model.
    settings = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    # In a session of its own, both processes are ended together.
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", tesseract_process.__file__, *told],
            env=settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise OcrUnavailable(NOT_STARTED) from error
    deadline = time.monotonic() + LONGEST_SECONDS
    try:
        while True:
            check(cancelled)
            if time.monotonic() > deadline:
                raise OcrUnavailable(TOO_LONG)
            with suppress(subprocess.TimeoutExpired):
                return process.wait(POLL_SECONDS)
    finally:
        if process.poll() is None:
            if hasattr(os, "killpg"):
                with suppress(OSError):  # it has ended meanwhile
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
