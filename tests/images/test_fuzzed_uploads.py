"""Damaged files of every kind that is opened: a picture or one of our sentences, whatever their bytes are.

``VLM_DEMO_FUZZ`` is how many files are tried.
"""

import os
import random
import resource
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from tests.kit import icc
from tests.kit.pictures import saved
from vlm_demo.errors import BadImage
from vlm_demo.images import decode
from vlm_demo.images.open import open_image

FILES = int(os.environ.get("VLM_DEMO_FUZZ", "200"))
BUDGET = 400_000_000


def whole() -> list[tuple[str, bytes]]:
    """One file of each kind."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    photo = Image.fromarray(coarse).resize((96, 72), Image.Resampling.BICUBIC)
    clear = photo.copy()
    clear.putalpha(photo.convert("L"))
    wide = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 16)
    real = Image.fromarray(np.asarray(photo.convert("L")).astype(np.float32) / 255)
    profile = {"icc_profile": icc.profile("Display P3")}
    frames = {"save_all": True, "append_images": [photo.rotate(90), photo.rotate(180)]}
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        ("png", saved(photo, "PNG", **profile)),
        ("png of 16 bits", saved(wide, "PNG")),
        ("png with alpha", saved(clear, "PNG", exif=exif)),
        ("palette", saved(clear.quantize(32), "PNG")),
        ("jpeg", saved(photo, "JPEG", exif=exif, **profile)),
        ("progressive", saved(photo.convert("CMYK"), "JPEG", progressive=True)),
        ("webp", saved(clear, "WEBP", **profile)),
        ("moving webp", saved(photo, "WEBP", **frames)),
        ("gif", saved(photo, "GIF", **frames)),
        ("tiff", saved(photo, "TIFF", compression="tiff_lzw", **frames)),
        ("tiff of floats", saved(real, "TIFF")),
        ("fax", saved(photo.convert("1"), "TIFF", compression="group4")),
        ("bmp", saved(photo, "BMP")),
        ("ppm", saved(photo, "PPM")),
        ("tga", saved(photo, "TGA", compression="tga_rle")),
        ("ico", saved(photo, "ICO")),
        ("avif", saved(photo, "AVIF", **profile)),
        ("heic", saved(photo, "HEIF", **profile)),
        ("jp2", saved(photo, "JPEG2000")),
        ("pdf", saved(photo, "PDF", save_all=True, append_images=[photo])),
    ]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """One of the ways in which files break, or are made to."""
    made = bytearray(data)
    way = chance.randrange(6)
    if way == 0:
        return bytes(made[: chance.randrange(len(made))])
    if way == 1:
        for _ in range(chance.randint(1, 20)):
            made[chance.randrange(len(made))] = chance.randrange(256)
    elif way == 2:  # in the header, where sizes and counts stand
        for _ in range(chance.randint(1, 4)):
            made[chance.randrange(min(64, len(made)))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
    elif way == 3:
        at = chance.randrange(len(made))
        del made[at : at + chance.randint(1, 200)]
    elif way == 4:
        at = chance.randrange(len(made))
        made[at:at] = chance.randbytes(chance.randint(1, 200))
    else:
        at = chance.randrange(len(made) - 4)
        made[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\1\0\0"])
    return bytes(made)


def fuzzed() -> Iterator[tuple[str, bytes]]:
    chance = random.Random(19)
    files = whole()
    for i in range(FILES):
        name, data = files[i % len(files)]
        yield f"{i}: {name}", damaged(data, chance)


def peak() -> int:
    """Of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.filterwarnings("ignore")
def test_fuzzed_uploads_are_pictures_or_one_sentence() -> None:
    for _, data in whole():
        open_image(data)
    before, opened = peak(), 0
    for name, data in fuzzed():
        try:
            image, notes = open_image(data)
        except BadImage as error:
            messages = [str(error)]
        except Exception as error:
            raise AssertionError(f"{name}: {error!r}") from error
        else:
            opened += 1
            messages = list(notes)
            assert image.mode == "RGB" and 0 < image.width * image.height <= decode.KEPT_PIXELS
        assert all(one.endswith(".") and "\n" not in one and "0x" not in one for one in messages), (name, messages)
        assert peak() - before < BUDGET, name
    assert FILES / 10 < opened < FILES
