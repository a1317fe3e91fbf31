"""View: an upload → the pixels that the model really sees, and where each patch lies in the upload.

Opens files by their content and never by their name, in memory. Knows the checkpoint's image processor, not its model.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from vlm_demo.contracts import View
from vlm_demo.errors import BadImage, UnsupportedModel

Source = Image.Image | str | os.PathLike | bytes | bytearray | memoryview | BinaryIO
MAX_PIXELS = 178_000_000
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
        image = Image.open(io.BytesIO(data))
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


@dataclass(frozen=True)
class Geometry:
    """How the processor maps the upload to its output: x_out = x_in · scale + shift, the same for y.

    Attributes:
        scale, shift: (x, y).
        size: (width, height) of the output in pixels.
    """

    scale: tuple[float, float]
    shift: tuple[float, float]
    size: tuple[int, int]

    def to_upload(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes [n, 4] of the output → boxes in the upload's pixels."""
        scale, shift = np.array(self.scale * 2), np.array(self.shift * 2)
        return ((boxes - shift) / scale).astype(np.float32)


def geometry(processor: Any, size: tuple[int, int]) -> Geometry:
    """Follow the processor's own steps (pad to a square, resize, centre crop) for an upload of (width, height).

    Raises:
        BadImage: the picture is so elongated that resizing its shorter side would make it too large.
    """
    x, y = size
    shift = np.zeros(2)
    scale = np.ones(2)
    if getattr(processor, "do_pad", False) and hasattr(processor, "pad_to_square"):
        side = max(x, y)
        shift += ((side - x) // 2, (side - y) // 2)
        x = y = side
    if processor.do_resize:
        new_x, new_y = _resized((x, y), dict(processor.size))
        if new_x * new_y > MAX_PIXELS:
            raise BadImage(f"This picture is {size[0]} × {size[1]} pixels, too elongated for the model: crop it first.")
        scale *= (new_x / x, new_y / y)
        shift *= (new_x / x, new_y / y)
        x, y = new_x, new_y
    if getattr(processor, "do_center_crop", False):
        crop = dict(processor.crop_size)
        # The processor rounds a negative margin (padding) away from zero; floor division does the same.
        shift -= ((x - crop["width"]) // 2, (y - crop["height"]) // 2)
        x, y = crop["width"], crop["height"]
    return Geometry((float(scale[0]), float(scale[1])), (float(shift[0]), float(shift[1])), (x, y))


def _resized(size: tuple[int, int], target: dict[str, Any]) -> tuple[int, int]:
    width, height = size
    if target.get("height") and target.get("width"):
        return int(target["width"]), int(target["height"])
    short, long = min(size), max(size)
    new_short = int(target["shortest_edge"])
    new_long = int(new_short * long / short)
    return (new_short, new_long) if width <= height else (new_long, new_short)


class ViewMaker:
    """Upload → View, by the checkpoint's own image processor.

    ``grid_of(height, width)`` gives the (rows, columns) of patches for pixel values of that size.
    """

    def __init__(self, processor: Any, grid_of: Callable[[int, int], tuple[int, int]]) -> None:
        self.processor, self.grid_of = processor, grid_of

    def __call__(self, source: Source) -> View:
        """Open, process and measure one upload.

        Raises:
            BadImage: see ``open_image``.
            UnsupportedModel: the processor does more than padding, resizing and cropping, so patches can't be placed.
        """
        image, notes = open_image(source)
        place = geometry(self.processor, image.size)
        made = self.processor(images=image, return_tensors="pt")
        pixels = made if isinstance(made, torch.Tensor) else made["pixel_values"]
        if tuple(pixels.shape) != (1, 3, place.size[1], place.size[0]):
            raise UnsupportedModel(
                f"The image processor {type(self.processor).__name__} cuts pictures in a way unknown here: choose "
                "another model."
            )
        rows, columns = self.grid_of(place.size[1], place.size[0])
        return View(
            image=image,
            size=image.size,
            pixel_values=pixels,
            processed=self._undone(pixels[0]),
            grid=(rows, columns),
            boxes=place.to_upload(_cells(place.size, rows, columns)),
            notes=(*notes, *_lost(place, image.size)),
        )

    def _undone(self, pixels: torch.Tensor) -> np.ndarray:
        """Normalised [3, h, w] → uint8 [h, w, 3]."""
        shown = pixels.permute(1, 2, 0).float().numpy()
        if self.processor.do_normalize:
            shown = shown * np.array(self.processor.image_std) + np.array(self.processor.image_mean)
        if self.processor.do_rescale:
            shown = shown / self.processor.rescale_factor
        return shown.round().clip(0, 255).astype(np.uint8)


def _cells(size: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    """Boxes [rows * columns, 4] of a regular grid over (width, height).

    A tower whose patches do not divide the picture leaves a strip at the right and bottom unread, so cells are
    whole pixels wide.
    """
    width, height = size[0] // columns, size[1] // rows
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.stack([column * width, row * height, (column + 1) * width, (row + 1) * height], 1).astype(np.float64)


def _lost(place: Geometry, size: tuple[int, int]) -> tuple[str, ...]:
    """What of the upload lies outside the model's view."""
    x0, y0, x1, y1 = place.to_upload(np.array([[0, 0, *place.size]]))[0]
    sides = {"left": x0, "right": size[0] - x1, "top": y0, "bottom": size[1] - y1}
    cut = [f"{round(float(pixels))} pixels at the {side}" for side, pixels in sides.items() if pixels >= 0.5]
    return (f"The model does not see {_listed(cut)}.",) if cut else ()


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
