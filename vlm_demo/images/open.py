"""Open: an upload → an upright sRGB picture, opened by its content and never by its name, in memory."""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from vlm_demo.errors import BadImage
from vlm_demo.images import pdf, remote_pictures
from vlm_demo.images.decode import DAMAGED, MAX_PIXELS, check_icon, decode, smaller, too_large
from vlm_demo.images.formats import HEAD, NOT_A_PICTURE, formats, is_pdf, refusal
from vlm_demo.images.ground import on_ground
from vlm_demo.images.places import one_of
from vlm_demo.images.tones import measure

MOST_FILE_BYTES = 512_000_000
MAX_FRAME_PIXELS = 1_000_000_000  # of all frames up to the one that is wanted
# How many files are decoded at a time; PDFs have places of their own.
_PLACES = threading.BoundedSemaphore(2)
EMPTY = "This file is empty (0 bytes): save or download it again, and try once more."
# Our own limits are kept from the header, before decoding, and our own notes describe what is odd in a file.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class Page:
    """A file, and which page of it (PDF) or frame (GIF, TIFF, WebP, ...) is meant, counted from 1."""

    source: str | os.PathLike | bytes | bytearray | memoryview | BinaryIO
    number: int


Source = Image.Image | np.ndarray | Page | str | os.PathLike | bytes | bytearray | memoryview | BinaryIO


def open_image(
    source: Source,
    page: int | None = None,
    *,
    cancelled: Callable[[], bool] | None = None,
    most_pixels: int | None = None,
) -> tuple[Image.Image, tuple[str, ...]]:
    """Open an upload safely. Files are decoded two at a time; others wait.

    Args:
        source: a path, the file's bytes or a binary file object, of which the first page or frame is taken, or a
            ``Page`` of one; a PIL image, which is taken as it stands, at its current frame, and not changed; or an
            array [height, width] or [height, width, 1, 3 or 4], of uint8, bool, or any numbers on a scale of their own.
            A file object is read from its begin and left where it was.
        page: which page or frame of a file, from 1; the same as a ``Page``.
        cancelled: polled while waiting.
        most_pixels: to which the picture is shrunk where it has more; None = ``decode.KEPT_PIXELS``, which is the most.
    Returns:
        The picture upright in RGB, of at most that many pixels, and sentences about what was done to it.
    Raises:
        BadImage: it is no picture, damaged, empty, missing or too large; says which, and what to do.
        Stopped: ``cancelled()`` turned True.
    """
    if isinstance(source, Page):
        page, source = source.number, source.source
    if page is not None and isinstance(source, Image.Image | np.ndarray):
        raise BadImage("A page is chosen of a file, and not of a picture that is already open: pass the file.")
    if isinstance(source, np.ndarray):
        return _of_array(source, most_pixels)
    if isinstance(source, Image.Image):
        return _upright(source, None, most_pixels)
    with _stream(source) as stream:
        return _of_file(stream, page, cancelled, most_pixels)


def _of_file(
    stream: BinaryIO, number: int | None, cancelled: Callable[[], bool] | None, most_pixels: int | None
) -> tuple[Image.Image, tuple[str, ...]]:
    head = stream.read(HEAD)
    if not head:
        raise BadImage(EMPTY)
    reason = refusal(head)
    if reason:
        raise BadImage(reason)
    if is_pdf(head):
        stream.seek(0)
        drawn, notes = pdf.page(stream.read(), number, cancelled)
        shown, more = smaller(drawn, most_pixels)
        return shown, (*notes, *more)
    with one_of(_PLACES, cancelled):
        image = _opened(stream)
        if number is not None:
            _turn_to(image, number)
        return _upright(image, stream, most_pixels)


def _opened(stream: BinaryIO) -> Image.Image:
    check_icon(stream)
    stream.seek(0)
    try:
        return Image.open(stream, formats=formats())
    except Image.DecompressionBombError as error:
        most = MAX_PIXELS // 10**6
        raise BadImage(
            f"This picture is too large; at most {most} megapixels can be opened: shrink it first."
        ) from error
    except UnidentifiedImageError as error:
        raise BadImage(NOT_A_PICTURE) from error
    except Exception as error:  # decoders raise anything on crafted headers
        raise BadImage(DAMAGED) from error


@contextmanager
def _stream(source: Any) -> Iterator[BinaryIO]:
    """The file to be read, at its begin."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif hasattr(source, "read"):
        yield io.BytesIO(_read(source))
    else:
        with _file(remote_pictures.NOTHING(source)) as file:  # an address on the web is refused
            yield file


def _read(source: Any) -> bytes:
    """What a file object holds, from its begin; it is left where it was, so that it can be read once more."""
    try:
        seekable = bool(source.seekable())
        position = source.tell() if seekable else 0
        if seekable:
            source.seek(0)
        data = source.read(MOST_FILE_BYTES + 1)
        if seekable:
            source.seek(position)
    except (OSError, ValueError, AttributeError) as error:
        raise BadImage("This file object can't be read: open the file once more, or pass its path.") from error
    if not isinstance(data, bytes | bytearray):
        raise BadImage('This file object gives text and no bytes: open the file with mode "rb".')
    if len(data) > MOST_FILE_BYTES:
        raise _file_too_large()
    if not data and not seekable:
        raise BadImage("This file object has nothing left to be read: pass the file's bytes or its path.")
    return bytes(data)


def _file(source: Any) -> BinaryIO:
    try:
        path = Path(source)
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise BadImage(f"{source} is a folder: name one picture in it.")
        if not stat.S_ISREG(status.st_mode):
            raise BadImage(f"{source} is no file: name a picture's file.")
        if status.st_size > MOST_FILE_BYTES:
            raise _file_too_large()
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadImage(f"There is no file {source}: check its name and folder.") from error
    except PermissionError as error:
        raise BadImage(f"The file {source} may not be read: change its permissions or copy it elsewhere.") from error
    except TypeError as error:
        raise BadImage(
            f"A {type(source).__name__} is no picture: pass a PIL image, an array, a path or a file's bytes."
        ) from error
    except (OSError, ValueError) as error:
        raise BadImage("This file cannot be read: check its name, or copy it elsewhere.") from error


def _file_too_large() -> BadImage:
    most = MOST_FILE_BYTES // 10**6
    return BadImage(
        f"This file has more than {most} megabytes, which is the most: save it as JPEG, or shrink it first."
    )


def _turn_to(image: Image.Image, number: int) -> None:
    """Go to a frame, from 1."""
    try:
        count = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
        if not 1 <= number <= count:
            raise pdf.no_such(number, count, "frame")
        # Those before it are decoded, but for TIFF's.
        if image.format != "TIFF" and number * image.width * image.height > MAX_FRAME_PIXELS:
            raise BadImage(f"Frame {number} of this file is too far from its first: save the frame as a picture.")
        image.seek(number - 1)
    except BadImage:
        raise
    except Exception as error:
        raise BadImage(f"Frame {number} of this file is damaged: choose another one.") from error


def _upright(
    image: Image.Image, stream: BinaryIO | None, most_pixels: int | None
) -> tuple[Image.Image, tuple[str, ...]]:
    """An opened picture, whose file is ``stream``, or a caller's."""
    if image.width * image.height > MAX_PIXELS:
        raise too_large(image.size)
    if image.width == 0 or image.height == 0:
        raise BadImage("This picture has no pixels: choose another one.")
    notes: list[str] = []
    size = image.size
    try:
        # A TIFF is turned while it is decoded, and its tag is dropped then.
        orientation = image.tag_v2.get(ExifTags.Base.Orientation) if isinstance(image, TiffImageFile) else None
        decoded = decode(image, stream, most_pixels)
        shown, note = on_ground(decoded.image) if decoded.image.mode == "RGBA" else (decoded.image, "")
        # And not the method of a PNG, which would decode all of it.
        left = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
        shown = shown.transpose(_TURNS[left]) if left in _TURNS else shown
        if orientation in _TURNS or left in _TURNS:
            notes.append("The picture was turned upright, as its camera noted.")
    except BadImage:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise too_large(size) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ... on damaged data
        raise BadImage(DAMAGED) from error
    shown.info = {}  # its colour profile and orientation have been applied
    return shown, (*_frame_note(image, stream is not None), *notes, *decoded.notes, *([note] if note else []))


# EXIF's orientation → how it is undone.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _frame_note(image: Image.Image, ours: bool) -> tuple[str, ...]:
    """Which frame of an animation or a paged file is shown; empty for a single picture.

    Counting moves the picture through its file, and drops what has been drawn on it, so only ``ours`` are counted.
    """
    # A camera's MPO holds a preview and the photo, and the preview is no second frame.
    if image.format == "MPO":
        return ()
    shown = f"frame {image.tell() + 1}" if image.tell() else "the first frame"
    # What is known without moving: most formats report it when they are opened, and a GIF whether it loops.
    several = vars(image).get("is_animated", False) or (image.format == "GIF" and "loop" in image.info)
    if ours:
        try:
            frames = getattr(image, "n_frames", 1)
        except Exception:  # there is more, but damaged, which must not cost the first frame
            several = True
        else:
            if frames > 1:
                which = f"frame {image.tell() + 1}" if image.tell() else "the first"
                return (f"Only {which} of {frames} frames is shown to the model.",)
    return (f"Only {shown} is shown to the model.",) if several else ()


def _of_array(values: np.ndarray, most_pixels: int | None) -> tuple[Image.Image, tuple[str, ...]]:
    """A copy of an array's pixels."""
    kind = values.dtype.kind
    shape = values.shape[:2] if values.ndim in (2, 3) else ()
    if not shape or values.ndim == 3 and values.shape[2] not in (1, 3, 4) or kind not in "buif":
        raise BadImage(
            f"An array {list(values.shape)} of {values.dtype} is no picture: pass numbers as [height, width] or "
            "[height, width, 1, 3 or 4]."
        )
    if 0 in shape:
        raise BadImage("This picture has no pixels: choose another one.")
    if shape[0] * shape[1] > MAX_PIXELS:
        raise too_large((shape[1], shape[0]))
    values = values[..., 0] if values.shape[2:] == (1,) else values
    notes: tuple[str, ...] = ()
    if kind == "b":
        values = values.astype(np.uint8) * 255
    elif values.dtype != np.uint8:
        tones = measure([values], values.size, whole=kind in "ui")
        values, notes = tones(values), (tones.note,) if tones.note else ()
    image, more = _upright(Image.fromarray(np.ascontiguousarray(values)), None, most_pixels)
    return image, (*notes, *more)
