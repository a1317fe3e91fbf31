"""Embedded colour profiles, against colours that were put into their spaces by formula."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.kit import icc
from vlm_demo.images.open import open_image

COLOURS = np.array([[[220, 30, 30], [40, 160, 60], [60, 90, 200], [128, 128, 128], [230, 200, 120]]], np.uint8)
TAGGED = ("Display P3", "Adobe RGB (1998)", "ProPhoto RGB")
SAVING = {
    "PNG": {},
    "JPEG": {"quality": 100, "subsampling": 0},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "TIFF": {},
    "HEIF": {"quality": -1, "chroma": 444},
}


def patches(pixels: np.ndarray) -> Image.Image:
    """Each colour as 16 × 16 pixels."""
    return Image.fromarray(np.kron(pixels, np.ones((16, 16, 1), np.uint8)))


def opened(image: Image.Image, kind: str, profile: bytes) -> tuple[np.ndarray, tuple[str, ...]]:
    buffer = io.BytesIO()
    image.save(buffer, kind, icc_profile=profile, **SAVING[kind])
    shown, notes = open_image(buffer.getvalue())
    return np.asarray(shown)[8, 8::16].astype(int), notes


@pytest.mark.parametrize("kind", SAVING)
@pytest.mark.parametrize("space", TAGGED)
def test_colours_come_out_as_they_were_meant(space: str, kind: str) -> None:
    held = icc.in_space(COLOURS, space)
    assert np.abs(held.astype(int) - COLOURS).max() > 12  # what ignoring the profile would show
    shown, notes = opened(patches(held), kind, icc.profile(space))
    within = {"AVIF": 14, "HEIF": 5, "JPEG": 5}.get(kind, 3)  # what these lose in saving
    assert np.abs(shown - COLOURS[0]).max() <= within
    assert len(notes) == 1 and "sRGB" in notes[0] and space.split(" (")[0].split(" RGB")[0] in notes[0]


def test_srgb_by_another_name_changes_no_pixel() -> None:
    shown, notes = opened(patches(COLOURS), "PNG", icc.profile("sRGB of another name"))
    assert np.array_equal(shown, COLOURS[0]) and notes == ()


def test_transparency_survives_the_conversion() -> None:
    image = patches(icc.in_space(COLOURS, "Display P3")).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 16, 16))
    shown, notes = opened(image, "PNG", icc.profile("Display P3"))
    assert shown[0].tolist() == [255, 255, 255]
    assert np.abs(shown[1:] - COLOURS[0, 1:]).max() <= 3
    assert len(notes) == 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_greys_with_a_profile(kind: str) -> None:
    """Exponent 1: half of the light is sRGB's 188."""
    shown, notes = opened(Image.new("L", (80, 16), 128), kind, icc.grey_profile(1.0))
    assert np.abs(shown - 188).max() <= 3 and "its own profile" in notes[0]


def test_a_palette_with_a_profile() -> None:
    image = patches(icc.in_space(COLOURS, "ProPhoto RGB")).quantize(8)
    shown, _ = opened(image, "PNG", icc.profile("ProPhoto RGB"))
    assert np.abs(shown - COLOURS[0]).max() <= 4


def test_a_callers_picture_keeps_its_own_colours() -> None:
    image = patches(icc.in_space(COLOURS, "Display P3"))
    image.info["icc_profile"] = icc.profile("Display P3")
    before = image.tobytes()
    shown, _ = open_image(image)
    assert image.tobytes() == before
    assert np.abs(np.asarray(shown)[8, 8::16].astype(int) - COLOURS[0]).max() <= 3


@pytest.mark.parametrize("broken", [b"none", icc.profile("Display P3")[:200], icc.grey_profile(2.2)])
def test_a_profile_that_is_damaged_or_of_other_colours_is_ignored(broken: bytes) -> None:
    shown, notes = opened(patches(COLOURS), "PNG", broken)
    assert np.array_equal(shown, COLOURS[0]) and notes == ()


def test_the_profile_does_not_go_with_the_converted_picture() -> None:
    buffer = io.BytesIO()
    patches(icc.in_space(COLOURS, "Display P3")).save(buffer, "PNG", icc_profile=icc.profile("Display P3"))
    shown, _ = open_image(buffer.getvalue())
    again = io.BytesIO()
    shown.save(again, "PNG")
    assert "icc_profile" not in Image.open(again).info
    assert open_image(again.getvalue())[1] == () and type(shown) is Image.Image
