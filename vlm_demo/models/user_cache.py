"""User cache: the folder in which this project keeps large files that it can make again, and the room on its disk."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from vlm_demo.errors import VlmDemoError
from vlm_demo.words import gigabytes

NAME = "vlm_demo"
UNFINISHED = ".unfinished"  # what a folder's name begins with as long as it is being filled
ABANDONED = 86_400  # seconds after which such a folder of another machine belongs to nobody any more


def folder() -> Path:
    """Where the platform wants a user's caches, and in it ours; it need not exist yet."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):  # by the XDG specification a relative path is to be ignored
            base = os.path.expanduser("~/.cache")
    return Path(base) / NAME


def shown(place: Path) -> str:
    """A folder as sentences name it: ``~`` for the home folder, whose name is nobody's business on a shared page."""
    home = Path.home()
    inside = place.is_relative_to(home) and home != home.parent  # some containers have the home folder /
    return f"~/{place.relative_to(home).as_posix()}" if inside else str(place)


def made() -> Path:
    """The same folder, made if it was not there.

    Raises:
        VlmDemoError: it can't be.
    """
    place = folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(place) from error
    if not os.access(place, os.W_OK):
        raise unwritable(place)
    return place


def require_room(wanted: int, what: str) -> None:
    """See that the disk has ``wanted`` bytes left for ``what``.

    Raises:
        VlmDemoError: it has not.
    """
    place = made()
    free = shutil.disk_usage(place).free
    if wanted > free:
        raise VlmDemoError(
            f"The disk is too full for {what}: it takes {gigabytes(wanted)} in {shown(place)} and {gigabytes(free)} "
            "are free; free some space and try again."
        )


@contextmanager
def unfinished(place: Path) -> Iterator[Path]:
    """A new folder in ``place`` that belongs to this process, is taken for nothing else, and is deleted in the end.
    What interrupted processes left there is deleted too."""
    for leftover in place.glob(f"{UNFINISHED}-*"):
        with suppress(OSError):
            if _abandoned(leftover):
                shutil.rmtree(leftover, ignore_errors=True)
    # Containers and machines that share a cache have separate process ids, hence the machine's name.
    made = tempfile.mkdtemp(prefix=f"{UNFINISHED}-{_machine()}-{os.getpid()}-", dir=place)
    try:
        yield Path(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _machine() -> str:
    return re.sub(r"[^\w.]", "_", platform.node())


def _abandoned(leftover: Path) -> bool:
    match = re.fullmatch(rf"{UNFINISHED}-{re.escape(_machine())}-(\d{{1,9}})-\w+", leftover.name)
    if match:
        return not psutil.pid_exists(int(match[1]))
    return time.time() - leftover.stat().st_mtime > ABANDONED


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn disk errors into one sentence while ``what`` is written.

    Raises:
        VlmDemoError: the disk is full, or the folder can't be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise VlmDemoError(f"The disk is too full for {what}: free some space and try again.") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise unwritable(folder()) from error
        raise


def unwritable(place: Path) -> VlmDemoError:
    """The error where nothing can be stored."""
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    way_out = "make it writable" if sys.platform == "darwin" else f"make it writable, or set {variable} to another"
    return VlmDemoError(f"The folder {shown(place)} can't be written, and the embedded model is kept there: {way_out}.")
