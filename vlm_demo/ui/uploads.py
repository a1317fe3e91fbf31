"""Uploads: the files in Gradio's upload cache. Knows no session."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlm_demo.ui.chat_turn import ChatTurn

GRACE = 20.0  # seconds that an upload may wait for its page to claim it


class UploadCache:
    """Gradio's upload folder at the time of construction; the default folder holds other programs' files too, and is
    never swept."""

    def __init__(self) -> None:
        self._folder = os.environ.get("GRADIO_TEMP_DIR")

    def delete(self, path: str) -> None:
        """Delete an upload, and the folder that Gradio made for it."""
        _delete(Path(path))

    def sweep(self, held: set[str]) -> bool:
        """Delete unclaimed files older than ``GRACE`` seconds; returns whether there are more, still too recent."""
        if not self._folder:
            return False
        cache, young = Path(self._folder), False
        for path in (*cache.glob("*"), *cache.glob("*/*")):
            with suppress(FileNotFoundError):  # another page's sweep was first
                if path.is_dir() or str(path) in held:
                    continue
                if time.time() - path.stat().st_ctime >= GRACE:
                    _delete(path, cache)
                else:
                    young = True
        return young


def _delete(path: Path, cache: Path | None = None) -> None:
    """Delete an upload, and the folder that Gradio made for it in ``cache``."""
    path.unlink(missing_ok=True)
    if path.parent != cache and path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()


def put_back(exchange: ChatTurn) -> list[str]:
    """Write an exchange's pictures into the upload cache again, for the composer; returns the paths."""
    if not exchange.pictures:
        return []
    cache = Path(os.environ.get("GRADIO_TEMP_DIR") or Path(tempfile.gettempdir()) / "gradio")
    paths = []
    for name, content in zip(exchange.names, exchange.pictures, strict=True):
        folder = cache / secrets.token_hex(16)
        folder.mkdir(parents=True)
        path = folder / name
        path.write_bytes(content)
        paths.append(str(path))
    return paths
