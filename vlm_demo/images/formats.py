"""Formats: the kinds of picture files that are opened here; ``Image.open(file, formats=formats())``.

Without such a list Pillow goes by a file's content through all of its plugins, and the one for PostScript runs
Ghostscript, an interpreter of programs, on whatever lies in a file that is named ``.jpg``. Pillow opens nothing else
by another program.
"""

from __future__ import annotations

from PIL import Image

# By Pillow's names. MPO, a camera's JPEG with a preview, is opened as JPEG; HEIF needs a plugin that registers it.
RASTER = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "ICO", "AVIF", "HEIF", "JPEG2000", "TGA")


def formats() -> tuple[str, ...]:
    """Those of ``RASTER`` that this Pillow knows: it fails on the name of one that it doesn't."""
    Image.init()
    return tuple(name for name in RASTER if name in Image.OPEN)
