"""Transparent pictures: what is left of them differs from the background that they are put on."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vlm_demo.images.open import open_image


def logo(*colours: str | tuple, ground: tuple = (255, 255, 255, 0)) -> Image.Image:
    """Bars of colours with nothing between them."""
    image = Image.new("RGBA", (160, 60), ground)
    for i, colour in enumerate(colours):
        ImageDraw.Draw(image).rectangle((10 + i * 50, 20, 40 + i * 50, 40), fill=colour)
    return image


def opened(image: Image.Image, kind: str = "PNG", **options: object) -> tuple[np.ndarray, tuple[str, ...]]:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    shown, notes = open_image(buffer.getvalue())
    return np.asarray(shown).astype(int), notes


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("colour", ["white", "#f4f4f0", "#fff6a0"])
def test_light_content_lies_on_dark(colour: str, kind: str) -> None:
    shown, notes = opened(logo(colour), kind)
    assert shown[30, 25].mean() - shown[2, 2].mean() > 150
    assert "dark" in notes[0]


@pytest.mark.parametrize("colour", ["black", "red", "#336699"])
def test_other_content_lies_on_white(colour: str) -> None:
    shown, notes = opened(logo(colour))
    assert shown[2, 2].tolist() == [255, 255, 255] and "white" in notes[0]


def test_black_and_white_are_both_seen() -> None:
    shown, _ = opened(logo("white", "black"))
    ground = shown[2, 2].mean()
    assert abs(shown[30, 25].mean() - ground) > 80 and abs(shown[30, 75].mean() - ground) > 80


def test_white_in_a_palette_and_in_grey() -> None:
    grey = logo("white", ground=(0, 0, 0, 0)).convert("LA")
    for image in (grey, logo("white", ground=(0, 0, 0, 0)).quantize(4)):
        shown, notes = opened(image)
        assert shown[30, 25].mean() - shown[2, 2].mean() > 150 and "dark" in notes[0]


def test_shadows_are_mixed_with_the_ground() -> None:
    shown, _ = opened(logo((0, 0, 0, 128)))
    assert abs(shown[30, 25].mean() - 127) <= 2


def test_a_picture_that_says_that_all_of_it_is_transparent_is_shown() -> None:
    image = Image.new("RGBA", (20, 20), (200, 30, 30, 0))
    shown, notes = opened(image)
    assert shown[10, 10].tolist() == [200, 30, 30] and "without its transparency" in notes[0]


def test_opaque_pictures_are_left_alone_without_a_word() -> None:
    shown, notes = opened(logo("white", ground=(250, 250, 250, 255)))
    assert shown[2, 2].tolist() == [250, 250, 250] and notes == ()
