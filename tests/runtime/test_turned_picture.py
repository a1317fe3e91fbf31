"""Turned picture: what was turned lies level again, and a box finds back to where it came from."""

import pytest
from PIL import Image, ImageChops, ImageDraw

from vlm_demo.runtime.turned_picture import TurnedPicture

BAR = (60, 40, 140, 56)


def bar() -> Image.Image:
    image = Image.new("RGB", (240, 120), "white")
    ImageDraw.Draw(image).rectangle((BAR[0], BAR[1], BAR[2] - 1, BAR[3] - 1), fill="black")
    return image


def dark(image: Image.Image) -> tuple[int, int, int, int]:
    return image.convert("L").point(lambda value: 255 * (value < 128)).getbbox()


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_quarter_turn_is_undone_without_a_loss(turn: int) -> None:
    turned = TurnedPicture(bar().rotate(turn, expand=True), turn)
    assert ImageChops.difference(turned.image, bar()).getbbox() is None
    assert turned.back(BAR) == dark(bar().rotate(turn, expand=True))


@pytest.mark.parametrize("turn", [7, -30, 45, 130, 200, -90])
def test_any_turn_is_undone_and_boxes_find_back(turn: int) -> None:
    askew = bar().rotate(turn, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    turned = TurnedPicture(askew, turn)
    x0, y0, x1, y1 = dark(turned.image)
    assert abs(x1 - x0 - 80) <= 2 and abs(y1 - y0 - 16) <= 2
    assert max(abs(a - b) for a, b in zip(turned.back((x0, y0, x1, y1)), dark(askew), strict=True)) <= 3


def test_no_corner_is_lost_and_what_is_new_looks_like_the_paper() -> None:
    page = Image.new("RGB", (100, 60), (200, 210, 220))
    for x, y in ((0, 0), (96, 0), (0, 56), (96, 56)):
        page.paste("black", (x, y, x + 4, y + 4))
    turned = TurnedPicture(page, 30).image
    assert turned.getpixel((0, 0)) == (200, 210, 220)
    darkness = sum(255 - value for value in turned.convert("L").get_flattened_data())
    whole = sum(255 - value for value in page.convert("L").get_flattened_data())
    paper = 255 - page.convert("L").getpixel((50, 30))
    assert darkness - paper * turned.width * turned.height == pytest.approx(whole - paper * 6000, rel=0.05)


def test_a_box_stays_inside_the_picture() -> None:
    turned = TurnedPicture(bar(), 40)
    assert turned.back((0, 0, turned.image.width, turned.image.height)) == (0, 0, 240, 120)
