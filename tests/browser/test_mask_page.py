"""The tab Mask in a real browser: a part of the picture is drawn over by hand, and the question asked again."""

from __future__ import annotations

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.kit.browsing import answered, ask, finish, open_page, upload
from vlm_demo.models import loading

EVIL = "${alert(1)} {{x}} <img src=x onerror=alert(2)>"
TALKS = pytest.mark.skipif("llava" not in loading.embedded_names(), reason="a stand-in goes on talking for minutes")


@TALKS
def test_a_part_is_drawn_over_and_the_question_asked_again(visitor, app, picture):
    dialogs: list[str] = []
    visitor.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    open_page(visitor, app.url)
    upload(visitor, picture)
    ask(visitor, f"Describe the picture. {EVIL}")
    finish(visitor)
    answered(visitor)
    visitor.click("#tabs a[href='#mask']")
    go = visitor.locator("#mask-start .go")
    expect(go).to_be_enabled()
    expect(visitor.locator("#mask-said .bubble")).to_contain_text(EVIL)
    canvas = visitor.locator("#mask-paper canvas")
    go.click()
    expect(visitor.locator("#mask-start .problem")).to_contain_text("Nothing is drawn over")

    box = canvas.bounding_box()
    middle = box["y"] + box["height"] / 2
    visitor.mouse.move(box["x"] + box["width"] * 0.2, middle)
    visitor.mouse.down()
    visitor.mouse.move(box["x"] + box["width"] * 0.45, middle, steps=12)
    visitor.mouse.up()
    go.click()
    expect(visitor.locator("#mask-said .chances tbody tr").first).to_be_visible()
    expect(visitor.locator("#mask-said h3").nth(1)).to_contain_text("Without what you hid")
    expect(visitor.locator("#mask-said .again img")).to_have_count(1)
    # What was drawn over is hidden where it was drawn: the red circle at the left is no longer red, the square is blue.
    colours = visitor.evaluate(
        """async () => {
          const image = document.querySelector("#mask-said .again img");
          await image.decode();
          const canvas = Object.assign(document.createElement("canvas"), { width: 500, height: 240 });
          const pen = canvas.getContext("2d");
          pen.drawImage(image, 0, 0, 500, 240);
          return [[100, 120], [390, 120]].map(([x, y]) => [...pen.getImageData(x, y, 1, 1).data].slice(0, 3));
        }"""
    )
    assert colours[0][1] > 80, colours  # the circle's own green is 39
    assert abs(colours[1][2] - 180) < 40, colours
    with visitor.expect_download() as saved:
        visitor.click("#mask-said .keep")
    assert Image.open(saved.value.path()).width > 50
    # The drawing is still there, and a keyboard draws too.
    expect(go).to_be_enabled()
    count = """() => vlm.mask.marked().bits.split("").filter((letter) => letter !== "A").length"""
    before = visitor.evaluate(count)
    assert before > 10
    canvas.focus()
    for key in ("ArrowDown", "ArrowDown", " "):
        canvas.press(key)
    assert visitor.evaluate(count) > before
    visitor.click("#mask-paper [data-act=wipe]")
    assert visitor.evaluate(count) <= 2  # what fills up the last letters
    assert not dialogs
