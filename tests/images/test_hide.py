"""Hiding a part of a picture: what is hidden is gone, what is not is untouched."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vlm_demo.images.hide import GREY, WAYS, blurred, hide


@pytest.fixture
def scene() -> Image.Image:
    image = Image.new("RGB", (120, 80), "white")
    ImageDraw.Draw(image).rectangle((10, 10, 40, 60), fill="red")
    return image


@pytest.mark.parametrize("way", WAYS)
def test_nothing_hidden_leaves_every_pixel(scene: Image.Image, way: str) -> None:
    assert np.array_equal(hide(scene, np.zeros((8, 12), bool), way), scene)


def test_only_what_is_drawn_over_is_hidden(scene: Image.Image) -> None:
    mask = np.zeros((8, 12), bool)  # ten times smaller than the picture
    mask[1:6, 1:4] = True
    grey, blur = np.asarray(hide(scene, mask, "grey")), np.asarray(hide(scene, mask))
    inside = np.zeros((80, 120), bool)
    inside[10:60, 10:40] = True
    assert (grey[inside] == GREY).all()
    assert np.array_equal(blur[inside], np.asarray(blurred(scene))[inside])
    for hidden in (grey, blur):
        assert np.array_equal(hidden[~inside], np.asarray(scene)[~inside])


def test_a_way_that_there_is_not_is_refused(scene: Image.Image) -> None:
    with pytest.raises(ValueError, match="blur, grey"):
        hide(scene, np.zeros((2, 2), bool), "smear")
