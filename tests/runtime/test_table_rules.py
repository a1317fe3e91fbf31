"""Table rules: long thin lines go, and nothing else does."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlm_demo.runtime import table_rules
from vlm_demo.runtime.table_rules import without_rules

PAPER, INK = (250, 244, 230), (30, 30, 60)


def page() -> Image.Image:
    """Words, a filled bar and an underscore, all shorter or thicker than rules."""
    image = Image.new("RGB", (400, 300), PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((40, 40), "Illinois HILL", INK, ImageFont.load_default(30))
    pen.rectangle((40, 200, 360, 240), fill=INK)
    pen.line((40, 120, 70, 120), INK, 2)
    return image


def test_rules_are_painted_over_and_letters_stay():
    plain = page()
    ruled = plain.copy()
    pen = ImageDraw.Draw(ruled)
    for at in (20, 150, 280):
        pen.line((10, at, 390, at), INK, 2)
    for at in (10, 390):
        pen.line((at, 20, at, 280), INK, 3)
    assert np.array_equal(np.asarray(without_rules(ruled)), np.asarray(plain))


def test_light_rules_on_dark_paper_go_too():
    ruled = Image.new("RGB", (300, 200), (20, 20, 40))
    ImageDraw.Draw(ruled).line((10, 90, 290, 90), "white", 2)
    assert without_rules(ruled).getcolors() == [(300 * 200, (20, 20, 40))]


def test_a_picture_without_rules_has_nothing_to_paint_over(monkeypatch):
    assert without_rules(page()) is None
    assert without_rules(Image.new("RGB", (1, 1))) is None and without_rules(Image.new("RGB", (3, 400))) is None
    ruled = page()
    ImageDraw.Draw(ruled).line((10, 150, 390, 150), INK, 2)
    monkeypatch.setattr(table_rules, "MOST_PIXELS", 100_000)
    assert without_rules(ruled) is None
