"""Decode: an open file → its pixels as RGB or RGBA of 8 bits, within a budget of memory.

A picture of more pixels than are kept is made smaller while it is decoded, where its format allows that: JPEG and
JPEG 2000 in their own steps, PNG some rows at a time. The memory of decoding is estimated from the header first.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile

from vlm_demo.errors import BadImage
from vlm_demo.images import png_bands
from vlm_demo.images.colour import Colours, colours_of
from vlm_demo.images.tones import Tones, measure

MAX_PIXELS = 178_000_000
KEPT_PIXELS = 26_000_000  # an A4 page at 600 dots an inch is 35, a good camera's photo 24
REQUEST_PIXELS = 3 * KEPT_PIXELS  # of all pictures of a request together
MOST_BYTES = 400_000_000  # that decoding may take; what takes more is refused
USUAL_BYTES = 270_000_000  # that decoded and kept pixels together take, where shrinking further can do it
SLOW_PIXELS = 6_000_000  # of JPEG 2000, whose decoder takes most of a second for a million
BAND_PIXELS = 2_000_000
WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
# Bytes a pixel that Pillow's decoders took at their peak, measured; of other formats the pixels themselves.
COSTS = {"WEBP": 17, "AVIF": 10, "HEIF": 8, "JPEG2000": 20}
MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
PHOTOMETRIC, GDAL_NO_DATA, TILE_SIDES = 262, 42113, (322, 323)  # tags of TIFF
ICON, PNG = b"\0\0\1\0", b"\x89PNG"
DAMAGED = "This picture is damaged or incomplete: save or download it again, and try once more."


@dataclass(frozen=True)
class Decoded:
    """Pixels in RGB or RGBA, and sentences about what was done to them."""

    image: Image.Image
    notes: tuple[str, ...]


def too_large(size: tuple[int, int]) -> BadImage:
    """A picture of more pixels, or more bytes, than can be opened."""
    pixels = size[0] * size[1]
    size_text = f"This picture has {pixels / 1e6:,.0f} megapixels"
    if pixels > MAX_PIXELS:
        return BadImage(f"{size_text}; at most {MAX_PIXELS // 10**6} megapixels can be opened: shrink it first.")
    return BadImage(f"{size_text}, more than can be opened of its format: shrink it first, or save it as JPEG or PNG.")


def share_of_pixels(pictures: int) -> int:
    """How many pixels are kept of each of so many pictures of a request, which keep ``REQUEST_PIXELS`` together."""
    return REQUEST_PIXELS // max(pictures, 1)


def check_icon(stream: BinaryIO) -> None:
    """See that an icon is small, before Pillow opens it, which decodes it: its own header says of each picture in it at
    most 256 × 256, and the picture's header may say more. Other files are left alone.

    Raises:
        BadImage: one of its pictures is too large for the budget.
    """
    stream.seek(0)
    head = stream.read(6)
    if head[:4] != ICON:
        return
    for entry in [stream.read(16) for _ in range(int.from_bytes(head[4:6], "little"))]:
        following = stream.tell()
        stream.seek(int.from_bytes(entry[12:16], "little"))
        inner = stream.read(24)
        stream.seek(following)
        if inner.startswith(PNG):
            size = int.from_bytes(inner[16:20], "big"), int.from_bytes(inner[20:24], "big")
        else:  # a bitmap, and its mask below it
            size = int.from_bytes(inner[4:8], "little"), int.from_bytes(inner[8:12], "little")
        if size[0] * size[1] * 4 > MOST_BYTES:
            raise too_large(size)


def decode(image: Image.Image, stream: BinaryIO | None, most_pixels: int | None = None) -> Decoded:
    """Load an opened picture, smaller where it is large.

    Args:
        image: as Pillow opened it, at the frame that is wanted.
        stream: the file, if this may be done with ``image`` what is best; None = it is a caller's, and stays as it is.
        most_pixels: that are kept; None = ``KEPT_PIXELS``, which is the most.
    Returns:
        Not yet upright, and never ``image`` itself.
    Raises:
        BadImage: too large for the budget.
        Exception: whatever Pillow raises on damaged files.
    """
    size, kept = image.size, _kept(most_pixels)
    notes: list[str] = []
    reader = _Reader(image)
    if stream is not None and _by_rows(image, stream, kept):
        shrink = _shrink(size, 0, kept)
        rows = max(shrink, BAND_PIXELS // size[0] // shrink * shrink)
        made = _joined(png_bands.bands(stream, rows), reader, size, shrink)
    else:
        if stream is not None:
            image, note = _loaded(image, stream, kept)
            notes += note
        else:
            image.load()
        reader.measure(image)
        shrink = _shrink(image.size, _decoded_bytes(image), kept)
        if shrink == 1 and image.mode in ("RGB", "RGBA") and reader.changes_nothing(image):
            made = image.copy()
        else:
            made = _joined(_cut(image, shrink), reader, image.size, shrink)
    if made.size != size and sorted(made.size) != sorted(size):
        notes.append(_shrunk(size, made.size))
    return Decoded(made, (*notes, *reader.notes))


def smaller(image: Image.Image, most_pixels: int | None) -> tuple[Image.Image, tuple[str, ...]]:
    """A decoded picture, shrunk where it has more pixels, and a sentence about that; as `decode`."""
    by = _shrink(image.size, 0, _kept(most_pixels))
    if by == 1:
        return image, ()
    made = image.reduce(by)
    return made, (_shrunk(image.size, made.size),)


def _kept(most_pixels: int | None) -> int:
    return KEPT_PIXELS if most_pixels is None else min(most_pixels, KEPT_PIXELS)


def _shrunk(size: tuple[int, int], to: tuple[int, int]) -> str:
    return f"The picture of {size[0]:,} × {size[1]:,} pixels was shrunk to {to[0]:,} × {to[1]:,}."


def _shrink(size: tuple[int, int], decoded_bytes: int, kept: int) -> int:
    """By which whole number both sides are divided; ``decoded_bytes``: what the pixels take as they are."""
    pixels = size[0] * size[1]
    by = max(1, math.ceil(math.sqrt(pixels / kept)))
    while by > 1 and by < 8 and decoded_bytes + 4 * pixels / by**2 > USUAL_BYTES:
        by += 1
    return by


def _decoded_bytes(image: Image.Image) -> int:
    return image.width * image.height * MODE_BYTES.get(image.mode, 4)


def _by_rows(image: Image.Image, stream: BinaryIO, kept: int) -> bool:
    """Whether it is a PNG so large that it is better read in bands."""
    if image.format != "PNG" or image.width * image.height <= kept or getattr(image, "is_animated", False):
        return False
    png_header = png_bands.header(stream)
    return png_header is not None and png_header.by_rows and (png_header.width, png_header.height) == image.size


def _loaded(image: Image.Image, stream: BinaryIO, kept: int) -> tuple[Image.Image, list[str]]:
    """Decode all of it, smaller in the format's own steps; and notes for the person."""
    size, wanted = image.size, _shrink(image.size, 0, kept)
    if image.format in ("JPEG", "MPO") and wanted > 1:
        image.draft(None, (max(1, image.width // wanted), max(1, image.height // wanted)))
    elif image.format == "JPEG2000":
        levels = math.log2(max(1.0, math.sqrt(image.width * image.height / SLOW_PIXELS)))
        image.reduce = math.ceil(levels)  # type: ignore[method-assign, assignment]
    if _cost(image, size) > MOST_BYTES:
        raise too_large(size)
    try:
        image.load()
    except OSError:
        if image.format not in ("JPEG", "MPO"):
            raise
        return _without_end(stream, image.size)
    return image, []


def _cost(image: Image.Image, size: tuple[int, int]) -> int:
    """Bytes that decoding takes, of a picture whose file says (width, height)."""
    pixels = image.width * image.height
    if image.format == "JPEG2000" and isinstance(image.reduce, int):
        pixels >>= 2 * image.reduce
    elif image.format == "TIFF":  # a tile is decoded whole, however little of the picture lies in it
        sides = [image.tag_v2.get(tag) for tag in TILE_SIDES]  # type: ignore[attr-defined]
        pixels = max(pixels, math.prod(side if isinstance(side, int) else 0 for side in sides))
    cost = pixels * max(COSTS.get(image.format or "", 0), MODE_BYTES.get(image.mode, 4))
    layers = getattr(image, "layer", None)
    if layers and image.info.get("progressive"):  # whose coefficients are held for the whole picture at its full size
        shares = [layer[1] * layer[2] for layer in layers]
        cost += round(2 * size[0] * size[1] * sum(shares) / max(*shares, 1))
    return cost


def _without_end(stream: BinaryIO, size: tuple[int, int]) -> tuple[Image.Image, list[str]]:
    """A JPEG that stops before its end: the rows that are there, and grey for those that are not.

    What the decoder makes of missing rows depends on what stands in their place. So it is given two ends, and the rows
    on which both agree are those that the file holds.

    Raises:
        OSError: most of it is missing.
    """
    stream.seek(0)
    data = stream.read().rstrip(b"\xff")  # half of a marker
    ends = [_decoded_to(data + end + b"\xff\xd9", size) for end in (b"", bytes([0x5A, 0x31, 0xC7, 0x08]) * 4096)]
    height, width = ends[0].height, ends[0].width
    same, step = height, max(1, BAND_PIXELS // width)
    for top in range(0, height, step):
        box = (0, top, width, min(height, top + step))
        differ = (np.asarray(ends[0].crop(box)) != np.asarray(ends[1].crop(box))).reshape(box[3] - top, -1).any(1)
        if differ.any():
            same = top + int(differ.argmax())
            break
    if same < height / 2:
        raise OSError("most of a JPEG is missing")
    if same == height:
        return ends[0], ["The file lacks its end, but nothing of the picture is missing."]
    ends[0].paste(_GREYS.get(ends[0].mode, 128), (0, same, width, height))
    share = max(1, round(100 * (height - same) / height))
    return ends[0], [f"The file lacks its end: the last {share} % of its rows are missing and shown grey."]


_GREYS: dict[str, tuple[int, ...]] = {"RGB": (128, 128, 128), "CMYK": (0, 0, 0, 128)}


def _decoded_to(data: bytes, size: tuple[int, int]) -> Image.Image:
    image: ImageFile.ImageFile = Image.open(io.BytesIO(data), formats=("JPEG",))
    image.draft(None, size)
    image.load()
    return image


def _cut(image: Image.Image, shrink: int) -> Iterator[Image.Image]:
    """A loaded picture's rows, as many at a time as make a band."""
    rows = max(shrink, BAND_PIXELS // max(1, image.width) // shrink * shrink)
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(image.height, top + rows)))


def _joined(bands: Iterator[Image.Image], reader: _Reader, size: tuple[int, int], shrink: int) -> Image.Image:
    made: Image.Image | None = None
    top = 0
    for band in bands:
        shown = reader(band)
        shown = shown.reduce(shrink) if shrink > 1 else shown
        if made is None:
            if shown.height * shrink >= size[1]:
                return shown
            made = Image.new(shown.mode, (shown.width, -(-size[1] // shrink)))
        made.paste(shown, (0, top))
        top += shown.height
    assert made is not None
    return made


class _Reader:
    """The pixels of one picture, band by band, in RGB or RGBA of 8 bits."""

    def __init__(self, image: Image.Image) -> None:
        profile = image.info.get("icc_profile")
        self._colours: Colours | None = colours_of(profile if isinstance(profile, bytes) else None, image.mode)
        self._tones: Tones | None = None
        # Of 16 bits a colour Pillow keeps the upper 8, in which a camera's 12 or 14 bits are almost black.
        self._is_16_bit = image.mode in ("RGB", "RGBA") and ";16" in str(getattr(image, "tile", ""))
        self._brighter: list[int] = []

    def measure(self, image: Image.Image) -> None:
        """Where it has more than 8 bits, find its scale."""
        if self._is_16_bit:
            most = max(i % 256 for i, count in enumerate(image.histogram()[:768]) if count)
            full = 2 ** math.ceil(math.log2(most + 1)) - 1
            self._brighter = [min(255, round(value * 255 / full)) for value in range(256)] if 0 < full < 128 else []
        if image.mode not in WIDE_MODES:
            return
        tags = getattr(image, "tag_v2", {})
        self._tones = measure(
            (np.asarray(band) for band in _cut(image, 1)),
            image.width * image.height,
            whole=image.mode != "F",
            inverted=tags.get(PHOTOMETRIC) == 0,
            no_data=_number(tags.get(GDAL_NO_DATA)),
        )

    def changes_nothing(self, image: Image.Image) -> bool:
        """Whether RGB or RGBA stays as it is."""
        return self._colours is None and "transparency" not in image.info and not self._brighter

    @property
    def notes(self) -> tuple[str, ...]:
        brighter = "The picture uses only the lower ones of its 16 bits a colour, so it was made brighter."
        warnings = (
            self._tones.note if self._tones else "",
            brighter if self._brighter else "",
            self._colours.note if self._colours else "",
        )
        return tuple(note for note in warnings if note)

    def __call__(self, band: Image.Image) -> Image.Image:
        if band.mode in ("RGB", "RGBA") and self.changes_nothing(band):
            return band
        if self._tones:
            band = Image.fromarray(self._tones(np.asarray(band)))
        transparent = band.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in band.info
        if transparent:
            alpha = band.convert("RGBA").getchannel("A")
        if band.mode in ("1", "LA", "La") or (band.mode == "L" and transparent):
            band = band.convert("LA").getchannel("L") if band.mode in ("LA", "La") else band.convert("L")
        elif band.mode not in ("RGB", "L", "CMYK", "LAB"):
            band = band.convert("RGBA").convert("RGB") if transparent else band.convert("RGB")
        band = band.point(self._brighter * 3) if self._brighter else band
        shown = self._colours(band) if self._colours else band
        shown = shown if shown.mode == "RGB" else shown.convert("RGB")
        if transparent:
            shown = shown.copy() if shown is band else shown
            shown.putalpha(alpha)
        return shown


def _number(text: object) -> float | None:
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None
