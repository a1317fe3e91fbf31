"""A connection that drops while an answer streams, and comes back: the chat and what was typed are there again."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.kit.browsing import COMPOSER, PATIENCE, answered, ask, open_page, speaking, upload


def test_a_lost_connection_ends_the_stream_in_a_sentence_and_the_page_goes_on(browser, slow_app, picture) -> None:
    context = browser.new_context()  # not the visitor: the browser complains of what it can't reach
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    open_page(page, slow_app.url)
    upload(page, picture)
    ask(page, "Describe the picture at length.")
    speaking(page)
    context.set_offline(True)
    expect(page.locator(".toast-body").first).to_contain_text("Connection to the server was lost")
    page.fill(COMPOSER, "And what else?")
    context.set_offline(False)

    answered(page)
    expect(page.locator("#chat")).to_contain_text("The connection to this page was lost")
    expect(page.locator("#live .words")).to_have_count(0)
    expect(page.locator(".toast-body")).to_have_count(0)
    expect(page.locator(".turn .answer .words")).to_have_text(re.compile(r"\w"))  # the answer so far stays
    expect(page.locator(COMPOSER)).to_have_value("And what else?")
    page.press(COMPOSER, "Enter")
    speaking(page)
    page.click(".stop-button")
    answered(page, 2)
    expect(page.locator(COMPOSER)).to_have_value("")
    context.close()
