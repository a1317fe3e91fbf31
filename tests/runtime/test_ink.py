"""Ink: what is printed next to the words that were read is seen, however faint, and a photograph is no page."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw

from vlm_demo.runtime import ink

WORD = (40, 30, 160, 60)


def page(paper: str = "white", letters: str = "black") -> Image.Image:
    image = Image.new("RGB", (300, 200), paper)
    ImageDraw.Draw(image).rectangle((45, 33, 155, 57), fill=letters)
    return image


@pytest.mark.parametrize("paper", ["white", "#222", "#e7d9b5"])
def test_all_ink_in_the_boxes_leaves_nothing(paper: str) -> None:
    image = page(paper, "white" if paper == "#222" else "black")
    assert ink.all_within(image, [WORD])
    assert not ink.all_within(image, [(45, 33, 70, 57)]) and not ink.all_within(image, [])


@pytest.mark.parametrize("grey", ["black", "#888", "#d0d0d0"])
def test_a_small_mark_elsewhere_is_seen(grey: str) -> None:
    image = page()
    ImageDraw.Draw(image).rectangle((250, 150, 256, 158), fill=grey)
    assert not ink.all_within(image, [WORD]) and ink.all_within(image, [WORD, (248, 148, 258, 160)])


def test_soft_edges_and_dust_do_not_count() -> None:
    image = page()
    ImageDraw.Draw(image).rectangle((43, 29, 157, 61), outline="#aaa")  # around the letters
    image.putpixel((280, 190), (0, 0, 0))
    assert ink.all_within(image, [WORD])


def test_photographs_blank_pages_and_huge_pictures_are_no_plain_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = (0, 0, 300, 200)
    assert not ink.all_within(Image.effect_noise((300, 200), 90).convert("RGB"), [everything])
    assert not ink.all_within(Image.new("RGB", (300, 200), "white"), [everything])
    monkeypatch.setattr(ink, "MOST_PIXELS", 300 * 200 - 1)
    assert not ink.all_within(page(), [WORD])
