"""The checklist in a real browser: what a person has opened stays so when its last check arrives."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.kit.browsing import answered, ask, finish, open_page, upload


def test_a_check_that_was_opened_stays_open_when_the_panel_is_drawn_again(visitor: Page, app, picture) -> None:
    open_page(visitor, app.url)
    upload(visitor, picture)
    ask(visitor, "What shape is red?")
    finish(visitor)
    answered(visitor)
    visitor.click(".turn .dots")
    row = visitor.locator("#checks li", has_text="Image tokens").locator("details")
    costs = visitor.locator("#checks .costs")
    for folded in (row, costs):
        folded.locator("summary").click()
        expect(folded).to_have_attribute("open", "")
    visitor.locator("#checks button[data-act=compute]").click()
    expect(visitor.locator("#checks")).to_contain_text("blank picture: ")  # the panel was drawn again
    expect(row).to_have_attribute("open", "")
    expect(costs).to_have_attribute("open", "")
    row.locator("summary").press("Enter")
    expect(row).not_to_have_attribute("open", "")
