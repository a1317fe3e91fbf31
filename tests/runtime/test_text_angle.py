"""Text angle: pages turned by Pillow's own rotation, and pictures without text."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.kit.printed import printed
from vlm_demo.runtime.text_angle import text_angle

PAGE = printed(["Delivery note 8830", "Two boxes of pears", "Leave them at the gate", "Signed by Helen"])


@pytest.mark.parametrize("turn", [0, 3.5, -12, 30, 45, -44, 70])
def test_it_is_the_angle_by_which_the_page_was_turned(turn: float) -> None:
    page = PAGE.rotate(turn, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    assert text_angle(page) == pytest.approx(turn, abs=0.5)


def test_light_text_on_a_dark_ground_has_one_too() -> None:
    page = PAGE.point(lambda value: 255 - value).rotate(20, Image.Resampling.BICUBIC, expand=True)
    assert text_angle(page) == pytest.approx(20, abs=0.5)


def test_a_page_on_its_side_is_turned_by_exactly_a_quarter() -> None:
    assert text_angle(PAGE.transpose(Image.Transpose.ROTATE_90)) == 90


def test_a_page_on_its_head_looks_level() -> None:
    assert text_angle(PAGE.transpose(Image.Transpose.ROTATE_180)) == pytest.approx(0, abs=1)


def test_without_text_there_is_none() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    circle = Image.new("RGB", (300, 300), "white")
    ImageDraw.Draw(circle).ellipse((60, 60, 240, 240), outline="black", width=9)
    for picture in (Image.new("RGB", (300, 200), "white"), Image.new("RGB", (1, 1)), noise, circle):
        assert text_angle(picture) is None
