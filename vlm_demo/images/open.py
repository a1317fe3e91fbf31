"""Open: an upload → an upright RGB picture, opened by its content and never by its name, in memory."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from vlm_demo.errors import BadImage
from vlm_demo.images import remote
from vlm_demo.images.formats import formats

MAX_PIXELS = 178_000_000
Source = Image.Image | str | os.PathLike | bytes | bytearray | memoryview | BinaryIO
WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
NOT_A_PICTURE = "This file is not a picture that can be opened: try a PNG, JPEG, WebP, GIF or TIFF."
# Our own limit is checked from the header, before decoding; the warning at half of it would only alarm.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
DAMAGED = "This picture is damaged or incomplete: save or download it again, and try once more."


def open_image(source: Source) -> tuple[Image.Image, tuple[str, ...]]:
    """Open an upload safely.

    Args:
        source: a path, the file's bytes or a binary file object, of which the first frame is taken; or a PIL image,
            which is taken as it stands, at its current frame, and not changed.
    Returns:
        The picture upright in RGB, and sentences about what was done to it.
    Raises:
        BadImage: it is no picture, damaged, empty, missing or too large; says which, and what to do.
    """
    if isinstance(source, Image.Image):
        return _upright(source, ours=False)
    data = _bytes_of(source)
    if not data:
        raise BadImage("This file is empty (0 bytes): save or download it again, and try once more.")
    try:
        image = Image.open(io.BytesIO(data), formats=formats())
    except Image.DecompressionBombError as error:
        raise BadImage(_too_large()) from error
    except UnidentifiedImageError as error:
        raise BadImage(NOT_A_PICTURE) from error
    except Exception as error:  # decoders raise anything on crafted headers
        raise BadImage(DAMAGED) from error
    return _upright(image, ours=True)


def _bytes_of(source: Any) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if hasattr(source, "read"):
        return source.read()
    source = remote.NOTHING(source)  # an address on the web is refused
    try:
        return Path(source).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadImage(f"There is no file {source}: check its name and folder.") from error
    except IsADirectoryError as error:
        raise BadImage(f"{source} is a folder: name one picture in it.") from error
    except PermissionError as error:
        raise BadImage(f"The file {source} may not be read: change its permissions or copy it elsewhere.") from error
    except TypeError as error:
        raise BadImage(
            f"A {type(source).__name__} is no picture: pass a PIL image, a path or a file's bytes."
        ) from error
    except (OSError, ValueError) as error:
        raise BadImage("This file cannot be read: check its name, or copy it elsewhere.") from error


def _too_large(size: tuple[int, int] | None = None) -> str:
    said = f"This picture has {size[0] * size[1] / 1e6:,.0f} megapixels" if size else "This picture is too large"
    return f"{said}; at most {MAX_PIXELS // 10**6} megapixels can be opened: shrink it first."


def _upright(image: Image.Image, ours: bool) -> tuple[Image.Image, tuple[str, ...]]:
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(_too_large(image.size))
    if image.width == 0 or image.height == 0:
        raise BadImage("This picture has no pixels: choose another one.")
    notes: list[str] = []
    try:
        image.load()
        if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
            notes.append("The picture was turned upright, as its camera noted.")
        upright = _rgb(ImageOps.exif_transpose(image), notes)
    except Image.DecompressionBombError as error:
        raise BadImage(_too_large()) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ... on damaged data
        raise BadImage(DAMAGED) from error
    return upright, (*_frame_note(image, ours), *notes)


def _frame_note(image: Image.Image, ours: bool) -> tuple[str, ...]:
    """Which frame of an animation or a paged file is shown; empty for a single picture.

    Counting moves the picture through its file, and drops what has been drawn on it, so only ``ours`` are counted.
    """
    # A camera's MPO holds a preview beside the photo, which nobody takes for a second frame.
    if image.format == "MPO":
        return ()
    shown = f"frame {image.tell() + 1}" if image.tell() else "the first frame"
    # What is known without moving: most formats tell it when they are opened, and a GIF that it wants to be repeated.
    several = vars(image).get("is_animated", False) or (image.format == "GIF" and "loop" in image.info)
    if ours:
        try:
            frames = getattr(image, "n_frames", 1)
        except Exception:  # there is more, but damaged, which must not cost the first frame
            several = True
        else:
            if frames > 1:
                return (f"Only the first of {frames} frames is shown to the model.",)
    return (f"Only {shown} is shown to the model.",) if several else ()


def _rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """Any mode → RGB: transparency over white, 16-bit and floating grey by their own range."""
    if image.mode in WIDE_MODES:
        return _eight_bit(np.asarray(image), image.mode).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        over = image.convert("RGBA")
        if np.asarray(over.getchannel("A")).min() < 255:
            notes.append("Transparent parts are shown on white.")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    # A copy, so that a caller who draws on the picture later does not change what the answer shows.
    return image.convert("RGB") if image.mode != "RGB" else image.copy()


def _eight_bit(values: np.ndarray, mode: str) -> Image.Image:
    """Grey of more than 8 bits → 8 bits. Files of mode I and F do not say their range, so it is read off the values."""
    values = np.nan_to_num(values.astype(np.float32))
    low, high = float(values.min()), float(values.max())
    if mode != "F" and low >= 0 and high <= 65535:
        # 16-bit grey; a file whose values all fit into 8 bits holds 8-bit grey in a wide coat.
        low, high = 0.0, 255.0 if mode == "I" and high <= 255 else 65535.0
    elif mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif mode == "F" and low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    scaled = (values - low) / max(high - low, 1e-12) * 255
    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))
