"""Tesseract: a picture → its hOCR, by pytesseract in a separate process, which ends when the person stops.

pytesseract works on files. Here they lie in a private folder for the time of one reading, and are gone after it,
however it ends. Knows neither words nor boxes.
"""

from __future__ import annotations

import os
import re
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
LANGUAGE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)?")  # "deu", "chi_sim", "script/Latin"
NO_LANGUAGES = ("osd", "equ")  # data that Tesseract lists with the languages: of directions and of formulas
LONGEST_SECONDS = 120.0
SCRIPT_SECONDS = 10.0  # that recognising the script may take
LEAST_SCRIPT_CONFIDENCE = 1.0  # Tesseract's own scale, on which 0 is a guess
FOLDER_VARIABLE = "VLM_DEMO_TEMP_DIR"  # in this folder the private ones are made; unset = the system's
PREFIX = "vlm_demo_"  # of a private folder's name; the process's id follows, by which app.py finds what was left
STRIP = 2_000_000  # pixels that are written between two checks for cancellation
INSTALL = "Reading text needs Tesseract: install it with `sudo apt-get install tesseract-ocr`, then start again."
INSTALL_PACKAGE = "Reading text needs the package pytesseract: install it with `pip install pytesseract`."
INSTALL_AGAIN = "Tesseract is installed but does not run: install it again with `sudo apt-get install tesseract-ocr`."
INSTALL_LANGUAGE = (
    "Tesseract can't read {name} here: choose among {installed}, or install its data with "
    "`sudo apt-get install tesseract-ocr-{package}`."
)
NO_DATA = "Tesseract finds no language data: install it with `sudo apt-get install tesseract-ocr-eng`."
NO_LANGUAGE = "This is no name of a language: choose among {installed}, several joined by +."
UNREADABLE = "Tesseract cannot read this picture: crop or enlarge it, or turn OCR off."
TOO_LONG = "Reading the text of this picture takes too long: crop it, or turn OCR off."
NOT_STARTED = "Reading text needs a process of its own, which this machine refuses now: try again, or turn OCR off."
NO_SPACE = (
    "Reading text needs a folder for its temporary files, and it cannot be written: free some space, or name another "
    f"folder in {FOLDER_VARIABLE}."
)


class TookTooLong(OcrUnavailable):
    """Tesseract did not end within its time."""


def installed() -> tuple[str, ...]:
    """The languages that Tesseract has data for, in its own order.

    Raises:
        OcrUnavailable: Tesseract or pytesseract is missing, or does not run; says what to do.
    """
    command = program()
    if shutil.which(command) is None:
        raise OcrUnavailable(INSTALL)
    try:
        listing = subprocess.run([command, "--list-langs"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OcrUnavailable(INSTALL_AGAIN) from error
    if listing.returncode < 0:
        raise OcrUnavailable(INSTALL_AGAIN)
    # Older versions write the list to stderr. Its heading is no language's name.
    listed = [line.strip() for line in (listing.stdout + listing.stderr).splitlines()]
    return tuple(name for name in listed if LANGUAGE_NAME.fullmatch(name) and name not in NO_LANGUAGES)


def available(languages: str = LANGUAGE) -> str | None:
    """None if text in these languages, joined by ``+``, can be read, or else one sentence that says how to get there;
    it lists those that are installed."""
    try:
        known = installed()
    except OcrUnavailable as error:
        return str(error)
    if not known:
        return NO_DATA
    for name in languages.split("+"):
        if not LANGUAGE_NAME.fullmatch(name):
            return NO_LANGUAGE.format(installed=", ".join(known))
        if name not in known:
            package = name.removeprefix("script/").lower().replace("_", "-")
            return INSTALL_LANGUAGE.format(name=name, installed=", ".join(known), package=package)
    return None


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


def read_hocr(
    image: Image.Image,
    mode: int,
    cancelled: Cancelled | None = None,
    languages: str = LANGUAGE,
    seconds: float | None = None,
) -> str:
    """Let Tesseract read a picture.

    Args:
        image: RGB, of no more than 32,767 pixels a side.
        mode: how Tesseract segments a page, its ``--psm``.
        cancelled: asked every twentieth of a second; the program is ended when it turns True.
        languages: joined by ``+``, each `installed`.
        seconds: after so many it is given up; None = `LONGEST_SECONDS`.
    Returns:
        hOCR (http://kba.github.io/hocr-spec/1.2/) with boxes of letters, in the pixels of ``image``.
    Raises:
        TookTooLong: Tesseract did not end in time.
        OcrUnavailable: Tesseract or a language is missing, or it fails; says what to do.
        Stopped: ``cancelled()`` turned True.
    """
    config = f"--psm {mode} -c hocr_char_boxes=1"
    status, output = _output_of(image, languages, config, tesseract_process.HOCR, cancelled, seconds)
    if status == tesseract_process.DONE:
        return output
    raise OcrUnavailable(INSTALL if status == tesseract_process.MISSING else available(languages) or UNREADABLE)


def script_of(image: Image.Image, cancelled: Cancelled | None = None) -> str:
    """The script that a picture's text is written in, by Tesseract's own name for it (``Latin``, ``Cyrillic``, …);
    empty where it is not recognised: too few letters, none clearly the likeliest, or no data of scripts.

    Args:
        image: RGB, of no more than 32,767 pixels a side.
    Raises:
        OcrUnavailable: it takes too long, or no process can be started.
        Stopped: ``cancelled()`` turned True.
    """
    status, output = _output_of(image, "osd", "--psm 0", tesseract_process.OSD, cancelled, SCRIPT_SECONDS)
    if status != tesseract_process.DONE:
        return ""
    values = dict(line.split(": ", 1) for line in output.splitlines() if ": " in line)
    confidence = float(values.get("Script confidence", 0))
    return values.get("Script", "") if confidence >= LEAST_SCRIPT_CONFIDENCE else ""


def _output_of(
    image: Image.Image, languages: str, config: str, kind: str, cancelled: Cancelled | None, seconds: float | None
) -> tuple[int, str]:
    """The exit status of `tesseract_process`, and what Tesseract wrote where it was DONE."""
    command = program()
    try:
        with _private_folder() as folder:
            picture = folder / "picture.ppm"
            _write(image, picture, cancelled)
            most = LONGEST_SECONDS if seconds is None else seconds
            status = _run([command, languages, config, str(LONGEST_SECONDS), str(picture), kind], most, cancelled)
            done = status == tesseract_process.DONE
            return status, Path(f"{picture}{kind}").read_text("utf-8", "replace") if done else ""
    except OSError as error:
        raise OcrUnavailable(NO_SPACE) from error


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


def _run(command: list[str], most: float, cancelled: Cancelled | None) -> int:
    """Have a picture's hOCR written next to it, in at most so many seconds; returns the exit status of
    `tesseract_process`, whose arguments are ``command``."""
    # Tesseract's own threads gain little on one picture, and take the cores from the model.
    settings = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    # In a new session, both processes are ended together.
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", tesseract_process.__file__, *command],
            env=settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise OcrUnavailable(NOT_STARTED) from error
    deadline = time.monotonic() + most
    try:
        while True:
            check(cancelled)
            if time.monotonic() > deadline:
                raise TookTooLong(TOO_LONG)
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
