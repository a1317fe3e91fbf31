"""Formats: the kinds of picture files that are opened here, and by which name the others are refused.

Without such a list Pillow goes by a file's content through all of its plugins, and the one for PostScript runs
Ghostscript, an interpreter of programs, on whatever lies in a file that is named ``.jpg``. Pillow opens nothing else
by another program.
"""

from __future__ import annotations

import ctypes
import re
import zlib
from pathlib import Path

import PIL
import pillow_heif
from PIL import Image

# By Pillow's names. MPO, a camera's JPEG with a preview, is opened as JPEG; HEIF is pillow-heif's.
RASTER = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "ICO", "AVIF", "HEIF", "JPEG2000", "TGA")
NOT_A_PICTURE = "This file is not a picture that can be opened: try a PNG, JPEG, WebP, GIF, TIFF, HEIC or PDF."
HEAD = 4096  # bytes by which a file's kind is recognised

_EXPORT = "export it as PNG or JPEG, and open that"
_VIDEO = "This file is a video and not a picture: save one of its frames as PNG or JPEG, and open that."
# What a file begins with → the message for it; pictures that a person may well have, and that can't be opened.
_NAMED: tuple[tuple[bytes, str], ...] = (
    (rb"\x8bPS|8BPS", f"This file is a Photoshop document, which can't be opened: {_EXPORT}."),
    (rb"%!PS|\xc5\xd0\xd3\xc6", f"This file is PostScript, a program and not a picture: {_EXPORT}."),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", f"This file is a JPEG XL, which can't be opened: {_EXPORT}."),
    (rb"\x76\x2f\x31\x01", f"This file is an OpenEXR picture, which can't be opened: {_EXPORT}."),
    (rb"SIMPLE  =", f"This file is a FITS picture, which can't be opened: {_EXPORT}."),
    (rb"(?s:.{128})DICM", f"This file is a DICOM picture, which can't be opened: {_EXPORT}."),
    (rb"FUJIFILMCCD-RAW|(?s:.{4})ftypcrx", f"This file is a camera's raw data, which can't be opened: {_EXPORT}."),
    (
        rb"PK\x03\x04",
        "This file is an archive or an office document and not a picture: save the picture in it by itself.",
    ),
    (rb"(?s:.{4})ftyp(isom|iso[2-9]|mp4|avc1|qt  |M4V|3g|dash)|\x1aE\xdf\xa3|RIFF(?s:.{4})AVI ", _VIDEO),
)
_SVG = f"This file is an SVG, a drawing made of shapes and not of pixels, which can't be opened: {_EXPORT}."
_HTML = "This file is a web page and not a picture: save the picture itself, and open that."


def _silence_libtiff() -> None:
    """Let the library that reads TIFF, which is bundled with Pillow, write nothing about damaged files to stderr."""
    for path in Path(PIL.__file__).parents[1].glob("[pP]illow.libs/libtiff-*.so*"):
        library = ctypes.CDLL(str(path))
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


_silence_libtiff()
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=2)


def formats() -> tuple[str, ...]:
    """Those of ``RASTER`` that this Pillow knows: it fails on the name of one that it doesn't."""
    Image.init()
    return tuple(name for name in RASTER if name in Image.OPEN)


def is_pdf(head: bytes) -> bool:
    """Whether a file that begins so is a PDF; other programs' lines may come before its own."""
    return b"%PDF-" in head[:1024]


def refusal(head: bytes) -> str | None:
    """A sentence for a file that begins with ``head`` and is of a kind that can't be opened; None for all others."""
    if head[:2] == b"\x1f\x8b":  # gzip, in which SVG is kept too
        try:
            head = zlib.decompressobj(31).decompress(head, HEAD)
        except zlib.error:
            return None
    text = _text(head)
    if text.startswith("<"):
        if re.search(r"<(\w+:)?svg[\s>]", text):
            return _SVG
        if "<!doctype html" in text or "<html" in text:
            return _HTML
    return next((name for pattern, name in _NAMED if re.match(pattern, head)), None)


def _text(head: bytes) -> str:
    """``head`` as lower-case text without what may stand before a first tag."""
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    return head.decode("utf-16" if wide else "utf-8", "ignore").lstrip("\ufeff \t\r\n").lower()
