"""A frame is chosen in a real browser, and the conversation about it is saved as files that need no server."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from tests.kit.browsing import answered, ask, finish, open_page, upload


def test_a_frame_is_chosen_asked_about_and_saved(visitor: Page, app, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (120, 90), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "three.gif", save_all=True, append_images=frames[1:])
    open_page(visitor, app.url)
    expect(visitor.locator("#page-number")).to_have_count(0)
    upload(visitor, tmp_path / "three.gif")
    field = visitor.get_by_label("Frame (of 3)")
    expect(visitor.locator("#page-number label")).to_contain_text("Frame (of 3)")
    field.fill("3")
    field.press("Tab")
    ask(visitor, "What color is it?")
    finish(visitor)
    answered(visitor)
    expect(visitor.locator("#chat .turn")).to_contain_text("Only frame 3 of 3 frames is shown")
    expect(visitor.locator("#page-number")).to_have_count(0)

    with visitor.expect_download() as page:
        visitor.click("button[data-kind=html]")
    html = page.value.path().read_text()
    assert "What color is it?" in html and "data:image/" in html and "<script" not in html and app.url not in html
    with visitor.expect_download() as data:
        visitor.click("button[data-kind=json]")
    (turn,) = json.loads(data.value.path().read_text())["turns"]
    assert turn["question"] == "What color is it?" and turn["answer"] and len(turn["checks"]) == 5

    # The saved data, on the page again: sent with no question, it opens in place of what is there.
    answer = visitor.locator("#chat .words").inner_text()
    visitor.click("#clear")
    visitor.wait_for_selector(".welcome")
    data.value.save_as(tmp_path / "conversation.json")
    upload(visitor, tmp_path / "conversation.json")
    visitor.click(".submit-button")
    answered(visitor)
    expect(visitor.locator("#chat .words")).to_have_text(answer)
    expect(visitor.locator("#chat .turn")).to_contain_text("in a conversation that was saved")
    expect(visitor.locator("#chat .turn")).to_contain_text("would have written 100% of its tokens itself")
    visitor.wait_for_selector("img.overlay")
