"""A chat survives a reload; the toggles stand in the address."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.kit.browsing import PATIENCE, answered, ask, finish, open_page, upload


def test_a_reload_keeps_the_chat_and_another_tab_does_not_see_it(browser, app, picture):
    context = browser.new_context()  # not the visitor: Gradio complains of the streams that a reload breaks off
    context.set_default_timeout(PATIENCE)
    visitor = context.new_page()
    open_page(visitor, app.url)
    visitor.locator("#evidence label").click()
    upload(visitor, picture)
    ask(visitor, "What is this?")
    finish(visitor)
    answered(visitor)
    answer = visitor.locator("#chat .words").inner_text()
    assert "evidence=1" in visitor.url

    visitor.reload()
    expect(visitor.locator("#chat .words")).to_have_text(answer)
    expect(visitor.locator("#evidence input")).to_be_checked()
    visitor.wait_for_selector("img.overlay")
    ask(visitor, "And what else?")
    finish(visitor)
    expect(visitor.locator("#chat .turn")).to_have_count(2)

    with visitor.context.expect_page() as opening:
        visitor.evaluate("window.open(location.href)")
    other = opening.value
    expect(other.locator("#evidence input")).to_be_checked()
    other.wait_for_selector(".welcome")
    other.wait_for_timeout(1500)
    assert other.locator("#chat .turn").count() == 0
    other.close()
    expect(visitor.locator("#chat .turn")).to_have_count(2)
    context.close()
