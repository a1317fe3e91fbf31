"""Pictures of more than 8 bits: which value is black and which is white, whatever strays among them."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from vlm_demo.images.open import open_image

# A dark disc on light ground, 0..1, as it should look.
Y, X = np.mgrid[:120, :120]
DISC = np.where((X - 60) ** 2 + (Y - 60) ** 2 < 40**2, 0.3, 0.8)
SHOWN = {"disc": round(0.3 * 255), "ground": round(0.8 * 255)}


def opened(values: np.ndarray, kind: str = "TIFF", **tags: object) -> tuple[np.ndarray, tuple[str, ...]]:
    """Saved and opened again: grey [h, w]."""
    buffer = io.BytesIO()
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        info[int(tag[1:])] = value
    Image.fromarray(values).save(buffer, kind, **({"tiffinfo": info} if tags else {}))
    shown, notes = open_image(buffer.getvalue())
    return np.asarray(shown)[..., 0].astype(int), notes


def assert_disc(shown: np.ndarray, within: int = 2) -> None:
    assert abs(shown[60, 60] - SHOWN["disc"]) <= within
    assert abs(shown[5, 60] - SHOWN["ground"]) <= within


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_in_sixteen(bits: int, kind: str) -> None:
    values = (DISC / 0.8 * (2**bits - 1)).astype(np.uint16)
    shown, notes = opened(values, kind)
    assert abs(shown[5, 60] - 255) <= 1 and abs(shown[60, 60] - 255 * 0.3 / 0.8) <= 2
    assert str(2**bits - 1) in notes[0]


def test_twelve_bits_and_a_hot_pixel() -> None:
    values = (DISC * 4095).astype(np.uint16)
    values[3, 3] = 65535
    shown, notes = opened(values)
    assert_disc(shown)
    assert shown[3, 3] == 255 and "4095" in notes[0]


def test_a_narrow_band_of_sixteen_bits_is_spread() -> None:
    shown, notes = opened((29_000 + DISC * 2000).astype(np.uint16))
    assert shown[60, 60] == 0 and shown[5, 60] == 255 and notes


def test_all_of_sixteen_bits_is_left_alone() -> None:
    shown, notes = opened((DISC * 65535).astype(np.uint16))
    assert_disc(shown)
    assert notes == ()


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_the_lowest_value_is_white_where_the_file_says_so(kind: type) -> None:
    top = 65535 if kind is np.uint16 else 1
    shown, notes = opened(((1 - DISC) * top).astype(kind), T262=0)
    assert_disc(shown)
    assert "white" in notes[0]


@pytest.mark.parametrize("stray", [1.02, 4000.0, np.inf, -np.inf, np.nan, 3.4e38, -3.4e38])
def test_stray_floats_do_not_blacken_the_rest(stray: float) -> None:
    values = DISC.astype(np.float32)
    values[2, 2] = stray
    shown, notes = opened(values)
    assert_disc(shown)
    assert len(notes) == 1


@pytest.mark.parametrize(("value", "tags"), [(-9999.0, {}), (-7.5, {"T42113": "-7.5"}), (np.nan, {})])
def test_places_without_data_are_black_with_a_note(value: float, tags: dict) -> None:
    values = DISC.astype(np.float32)
    values[:, :30] = value
    shown, notes = opened(values, **tags)
    assert_disc(shown)
    assert (shown[:, :20] == 0).all() and "without a value" in notes[0]


@pytest.mark.parametrize("scale", [0.02, 8.0, 3000.0])
def test_floats_on_a_scale_of_their_own(scale: float) -> None:
    shown, notes = opened((DISC / 0.8 * scale).astype(np.float32))
    assert abs(shown[60, 60] - 255 * 0.3 / 0.8) <= 2 and shown[5, 60] == 255 and notes


def test_nothing_but_holes() -> None:
    shown, notes = opened(np.full((8, 8), np.nan, np.float32))
    assert (shown == 0).all() and "no values" in notes[0]


def test_a_small_thing_on_a_plain_ground_is_no_stray_value() -> None:
    values = np.zeros((100, 100), np.uint16)
    values[10:20, 10:16] = 4095
    shown, _ = opened(values)
    assert shown[15, 12] == 255 and shown[50, 50] == 0


@pytest.mark.parametrize("level", [0, 1])
def test_one_plain_float(level: int) -> None:
    shown, _ = opened(np.full((8, 8), level, np.float32))
    assert (shown == 255 * level).all()


def sixteen_bit_png(values: np.ndarray) -> bytes:
    """uint16 [h, w, 3] as a PNG of 16 bits a colour, which Pillow can't write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    begin = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", begin), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


@pytest.mark.parametrize(("bits", "within"), [(12, 18), (14, 5), (16, 1)])
def test_colours_of_fewer_bits_in_sixteen(bits: int, within: int) -> None:
    values = np.dstack([DISC / 0.8, DISC / 0.8 / 2, DISC * 0]) * (2**bits - 1)
    image, notes = open_image(sixteen_bit_png(values))
    shown = np.asarray(image).astype(int)
    assert np.abs(shown[5, 60] - [255, 127, 0]).max() <= within
    assert np.abs(shown[60, 60] - [255 * 0.375, 255 * 0.1875, 0]).max() <= within
    assert len(notes) == (bits < 16)
