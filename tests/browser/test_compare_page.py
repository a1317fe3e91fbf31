"""The tab Compare in a real browser: two columns, a word looked at in both, and what a narrow window keeps in sight."""

from __future__ import annotations

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.kit.browsing import answered, ask, finish, open_page, upload
from vlm_demo.models import loading

EVIL = "${alert(1)} {{x}} <img src=x onerror=alert(2)>"

TALKS = pytest.mark.skipif("llava" not in loading.embedded_names(), reason="a stand-in goes on talking for minutes")


@TALKS
def test_the_chats_question_is_asked_in_columns(visitor, app, picture):
    dialogs: list[str] = []
    visitor.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    open_page(visitor, app.url)
    upload(visitor, picture)
    ask(visitor, "Describe the picture.")
    finish(visitor)
    answered(visitor)
    visitor.click("#tabs a[href='#compare']")
    question = visitor.locator("#compare-question textarea")
    expect(question).to_have_value("Describe the picture.")
    expect(visitor.locator("#compare-start .pictures img")).to_have_count(1)
    question.fill(f"Describe the picture. {EVIL}")
    visitor.click(".segments button:has-text('Evidence only')")
    visitor.click("#compare-go")
    expect(visitor.locator("#compare-table .bars .sum")).to_have_count(4)  # time and memory of both columns
    expect(visitor.locator("#compare-go")).to_be_enabled()
    expect(visitor.locator("#compare-table thead th")).to_have_count(2)
    expect(visitor.locator("#compare-table thead")).to_contain_text("the reference")
    expect(visitor.locator("#compare-table caption")).to_have_text(f"Describe the picture. {EVIL}")
    assert visitor.locator("#compare-table .tokens li").count() >= 2
    expect(visitor.locator("#compare-table figure img")).to_have_count(2)
    with visitor.expect_download() as saved:
        visitor.locator("#compare-table .keep").nth(1).click()
    assert saved.value.suggested_filename.startswith("compare-2.")
    assert Image.open(saved.value.path()).width > 100

    words = visitor.locator("#compare-table .said td:nth-of-type(1) .word")
    if words.count() > 1:
        words.nth(1).click()
        expect(words.nth(1)).to_have_attribute("aria-pressed", "true")
        expect(visitor.locator("#compare-table .stepper b")).to_have_text(words.nth(1).inner_text())

    visitor.set_viewport_size({"width": 390, "height": 844})
    sheet = visitor.locator(".sheet-of-columns")
    name = visitor.locator("#compare-table .said th")
    before = name.bounding_box()["x"]
    sheet.evaluate("sheet => sheet.scrollLeft = 200")
    assert sheet.evaluate("sheet => sheet.scrollLeft") == 200
    assert abs(name.bounding_box()["x"] - before) < 1
    assert visitor.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not dialogs


def test_another_tab_is_the_same_page_whatever_stands_in_its_address(visitor, app):
    visitor.goto(f"{app.url}/?__theme=dark")
    visitor.wait_for_selector(".welcome")
    visitor.evaluate("window.same = true")
    visitor.click("#tabs a[href='#compare']")
    expect(visitor.locator("#compare-desk")).to_be_visible()
    visitor.go_back()
    expect(visitor.locator("#columns")).to_be_visible()
    visitor.go_forward()
    expect(visitor.locator("#compare-desk")).to_be_visible()
    assert visitor.evaluate("window.same") and visitor.url.endswith("/?__theme=dark#compare")
