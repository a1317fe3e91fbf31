"""A page is measured as it is painted, and its texts are never markup."""

import ast
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vlm_demo.errors import VlmDemoError
from vlm_demo.training.worlds import browser, values
from vlm_demo.training.worlds.browser import HELD_OUT_FONT, TRAINED_FONTS, lines_of, page

ROOT = Path(__file__).parents[3]
SIGN = {
    "background": "rgb(255, 255, 255)", "ink": "rgb(255, 0, 0)", "size": 40, "leading": 1.5, "font": "sans",
    "framed": False, "margins": [20, 30, 10, 50], "align": "left", "line": 1, "round": 0, "inset": 0,
}  # fmt: skip


def ink(image):
    """x0, y0, x1, y1 of what is not white."""
    rows, columns = np.nonzero(np.asarray(image).min(2) < 128)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("font", [*TRAINED_FONTS, HELD_OUT_FONT])
def test_words_and_elements_lie_where_their_ink_is(font):
    rendered = page("text.html", lines=["Hamburg"], **SIGN | {"font": font})
    ((word,),) = rendered.lines
    x0, y0, x1, y1 = ink(rendered.image)
    assert abs(word.box[0] - x0) < 6 and abs(word.box[2] - x1) < 6 and word.box[1] <= y0 and word.box[3] >= y1
    assert np.allclose(rendered.boxes["0"], word.box, atol=1.5) and word.box[0] == 50


def test_every_font_differs_from_the_others():
    pictures = [page("text.html", lines=["Rag 17"], **SIGN | {"font": font}).image for font in browser.FONTS]
    distinct = {image.tobytes() for image in pictures}
    assert len(distinct) == len(browser.FONTS)


def test_what_is_printed_is_text_and_not_markup():
    text = "<b>Tea</b> & <script>x</script>"
    rendered = page("text.html", lines=[text], **SIGN)
    assert rendered.printed["texts"] == [text]


def test_the_same_page_is_painted_alike_after_any_other():
    one = page("text.html", lines=["Tea", "and cake"], **SIGN)
    page("text.html", lines=["Other"], **SIGN | {"size": 60})
    two = page("text.html", lines=["Tea", "and cake"], **SIGN)
    assert one.image.tobytes() == two.image.tobytes() and one.lines == two.lines


def test_words_side_by_side_are_one_line():
    words = [browser.OcrWord(text, box, 100.0) for text, box in (
        ("2.50", (90, 11, 120, 21)), ("Total", (0, 40, 30, 50)), ("Tea", (0, 10, 20, 22)), ("5", (95, 42, 99, 52)),
    )]  # fmt: skip
    assert [[word.text for word in line] for line in lines_of(words)] == [["Tea", "2.50"], ["Total", "5"]]


def test_a_missing_value_is_a_mistake():
    with pytest.raises(Exception, match="undefined"):
        page("text.html", lines=["Tea"])


def test_what_is_missing_is_explained_in_a_sentence(monkeypatch):
    monkeypatch.setattr(browser, "_chromium", lambda: "/nowhere/chromium")
    with ThreadPoolExecutor(1) as thread, pytest.raises(VlmDemoError, match="run: make chromium"):
        thread.submit(browser._opened.__wrapped__).result()
    parts = {"playwright.sync_api": browser._opened.__wrapped__, "faker": lambda: values._faker.__wrapped__("en_GB")}
    for name, opened in parts.items():
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(VlmDemoError, match="run: pip install -r requirements-train.txt"):
            opened()


def test_a_start_that_failed_leaves_nothing_in_the_way_of_the_next(monkeypatch):
    with ThreadPoolExecutor(1) as thread:
        with monkeypatch.context() as failing, pytest.raises(ZeroDivisionError):
            failing.setattr(browser, "_faces", lambda: 1 / 0)
            thread.submit(browser._opened.__wrapped__).result()
        opened = thread.submit(browser._opened.__wrapped__).result()
        assert thread.submit(lambda: opened.evaluate("document.fonts.size")).result() == len(browser.FONTS)
        thread.submit(lambda: opened.context.browser.close()).result()


def test_what_draws_pictures_is_imported_by_training_alone():
    for file in (ROOT / "vlm_demo").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        found = {name.split(".")[0] for name in names} & {"faker", "playwright"}
        assert not found or "training" in file.parts, (file, found)
