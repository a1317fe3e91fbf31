"""The checklist in a real browser: dots open its tab, and one press does what it advises."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.kit.browsing import answered, ask, finish, open_page, upload


def test_dots_open_the_checklist_and_a_remedy_asks_again(visitor: Page, app, picture) -> None:
    open_page(visitor, app.url)
    upload(visitor, picture)
    ask(visitor, "Is there a dog in the picture?")
    finish(visitor)
    answered(visitor)
    expect(visitor.locator(".turn .dots .dot")).to_have_count(5)
    visitor.click(".turn .dots")
    expect(visitor.locator("#checks .checks > li")).to_have_count(5)
    expect(visitor.locator("#checks")).to_contain_text("placeholders = ")

    # What the picture would cost other models is one press away.
    costs = visitor.locator("#checks .costs")
    expect(costs.locator("table")).to_be_hidden()
    costs.locator("summary").click()
    expect(costs.locator("tr", has_text="LLaVA-1.5 7B")).to_contain_text("576")

    # A blank picture is asked about, and the panel shows the result.
    visitor.locator("#checks button[data-act=compute]").click()
    expect(visitor.locator("#checks")).to_contain_text("blank picture: ")

    # The page's own remedy: one press, the question again, both answers there.
    sent = '{"press": "evidence_only", "turn": 0}'
    visitor.evaluate(
        """value => { const chat = document.querySelector('#chat .answer');
        const button = document.createElement('button');
        Object.assign(button.dataset, { act: 'choose', name: 'remedy', value });
        chat.append(button); button.click(); }""",
        sent,
    )
    expect(visitor.locator(".turn")).to_have_count(2)
    finish(visitor)
    answered(visitor, 2)
    expect(visitor.locator("#evidence input")).to_be_checked()
