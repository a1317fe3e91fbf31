"""The tab FAQ in a real browser: the experiments' findings are shown, and one is tried on an upload. And the page's
message while an upload is being opened."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route, expect

from tests.kit.browsing import COMPOSER, answered, ask, finish, open_page, upload
from vlm_demo.models import loading
from vlm_demo.ui.tabs.faq import panel

TALKS = pytest.mark.skipif("llava" not in loading.embedded_names(), reason="a stand-in goes on talking for minutes")


@TALKS
def test_an_experiment_is_read_and_tried_on_an_upload(visitor, app, picture):
    open_page(visitor, app.url)
    visitor.click("#tabs a[href='#faq']")
    cards = visitor.locator("#faq-found .faq-card")
    expect(cards).to_have_count(len(panel.QUESTIONS))
    expect(cards.first.locator(".finding")).to_contain_text("was wrong")
    expect(cards.first.locator(".bars dd")).to_have_count(6)
    visitor.click("text=Try it on your picture")
    expect(visitor.locator("#faq-tried .problem")).to_contain_text("ask about a picture in Chat first")

    visitor.click("#tabs a[href='#chat']")
    upload(visitor, picture)
    ask(visitor, "What color is the circle?")
    finish(visitor)
    answered(visitor)
    visitor.click("#tabs a[href='#faq']")
    visitor.click("text=Try it on your picture")
    expect(visitor.locator("#faq-tried .finding")).to_be_visible()
    expect(visitor.locator("#faq-tried li")).to_have_count(3)
    expect(visitor.locator("#faq-tried img")).to_have_count(1)
    visitor.set_viewport_size({"width": 390, "height": 844})
    width = "() => [document.documentElement.scrollWidth, document.getElementById('tabs').scrollWidth]"
    assert max(visitor.evaluate(width)) <= 390


def test_the_page_says_that_it_opens_a_picture_where_that_takes_long(visitor, app, picture):
    open_page(visitor, app.url)
    upload(visitor, picture)
    held: list[Route] = []
    letting: list[bool] = []
    visitor.route("**/gradio_api/run/**", lambda route: route.continue_() if letting else held.append(route))
    visitor.fill(COMPOSER, "What is it?")
    visitor.press(COMPOSER, "Enter")
    line = visitor.locator("#opening")
    expect(line).to_be_hidden()
    expect(line).to_have_text("Opening the picture")
    expect(line).to_be_visible()
    letting.append(True)
    for route in held:
        route.continue_()
    expect(visitor.locator("#chat .turn")).to_have_count(1)
    expect(line).to_be_hidden()
    finish(visitor)
