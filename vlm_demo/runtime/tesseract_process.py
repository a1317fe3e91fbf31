"""Tesseract process: a picture's file → its hOCR next to it, by pytesseract, in a process that can be ended at once.

`tesseract.py` starts this file by its path and passes all it needs as arguments. It imports nothing of this package,
whose imports take seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

DONE, MISSING, FAILED = 0, 3, 4  # exit statuses
HOCR, OSD = ".hocr", ".osd"  # kinds of output: words with their boxes; direction and script


def main(program: str, language: str, config: str, seconds: str, picture: str, kind: str) -> int:
    """Write Tesseract's output for ``picture`` into the same folder, under its name and ``kind``; returns the exit
    status.

    Args:
        program: what pytesseract starts, a name on the PATH or a path.
        language, config: as pytesseract takes them.
        seconds: after so many it gives up.
        kind: `HOCR` or `OSD`.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # pytesseract writes its own files where tempfile says; this process has no other use for it.
    tempfile.tempdir = str(Path(picture).parent)
    # It imports both where they are installed, which takes three times as long as all the rest, and needs neither.
    sys.modules.update({"numpy": None, "pandas": None})  # type: ignore[dict-item]
    import pytesseract

    pytesseract.pytesseract.tesseract_cmd = program
    try:
        output = pytesseract.pytesseract.run_and_get_output(
            picture, kind.removeprefix("."), language, config, timeout=float(seconds), return_bytes=True
        )
    except pytesseract.TesseractNotFoundError:
        return MISSING
    except (OSError, RuntimeError):  # it does not start, or it ends with an error; or there is no space for its files
        return FAILED
    Path(picture + kind).write_bytes(output)
    return DONE


def _end_with_parent() -> None:
    """Wait for the end of the pipe that the parent holds, then end, with Tesseract, however the parent ended."""
    os.read(0, 1)
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(FAILED)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
