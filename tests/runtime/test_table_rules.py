"""Table rules: long thin lines go, and nothing else does."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlm_demo.runtime import table_rules
from vlm_demo.runtime.table_rules import is_grid, without_rules

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


def grid(rows: int, columns: int, width: int = 2) -> Image.Image:
    image = Image.new("RGB", (100 * columns + 20, 60 * rows + 20), "white")
    pen = ImageDraw.Draw(image)
    for row in range(rows + 1):
        pen.line((10, 10 + 60 * row, 10 + 100 * columns, 10 + 60 * row), "black", width)
    for column in range(columns + 1):
        pen.line((10 + 100 * column, 10, 10 + 100 * column, 10 + 60 * rows), "black", width)
    return image


def test_thick_rules_go_too():
    image = grid(3, 2, 6)
    pen = ImageDraw.Draw(image)
    pen.text((40, 30), "Pear", "black", ImageFont.load_default(24))
    letters = np.asarray(image.crop((30, 20, 100, 62)))
    plain = without_rules(image)
    assert np.array_equal(np.asarray(plain.crop((30, 20, 100, 62))), letters)
    plain.paste("white", (30, 20, 100, 62))
    assert plain.convert("L").getextrema()[0] > 200


def test_a_table_is_a_grid_and_axes_are_none():
    assert is_grid(grid(2, 2)) and is_grid(grid(5, 4))
    chart = Image.new("RGB", (300, 200), "white")
    pen = ImageDraw.Draw(chart)
    pen.line((30, 10, 30, 170, 290, 170), "black", 2)
    for i in range(4):
        pen.rectangle((50 + 60 * i, 60 + 20 * i, 85 + 60 * i, 168), fill="navy")
    assert not is_grid(chart) and not is_grid(Image.new("RGB", (300, 200), "white"))
