"""A page that is closed: the model is free again, its uploads are gone, and nothing of it was logged."""

from __future__ import annotations

import time
from pathlib import Path

from tests.kit.browsing import PATIENCE, answered, ask, finish, open_page, upload


def test_a_page_that_is_closed_frees_the_model(browser, visitor, slow_app, picture):
    leaving = browser.new_page()
    leaving.set_default_timeout(PATIENCE)
    open_page(leaving, slow_app.url)
    upload(leaving, picture)
    ask(leaving, "Describe the picture at length.")
    leaving.wait_for_selector("#live .words")
    leaving.close()
    open_page(visitor, slow_app.url)
    upload(visitor, picture)
    ask(visitor, "And for me?")
    visitor.wait_for_selector("#live .words")
    visitor.click(".stop-button")
    answered(visitor)


def test_uploads_go_with_the_page_and_nothing_is_logged(browser, app, picture, other):
    def left() -> set[Path]:
        return {file for file in app.log.parent.glob("vlm_demo_*/**/*") if file.is_file()}

    before = left()  # of other tests' pages, on the same running app
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    open_page(page, app.url)
    upload(page, picture)
    ask(page, "my private question")
    finish(page)
    answered(page)
    upload(page, other)  # never sent
    context.close()

    deadline = time.monotonic() + 90
    while left() - before and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left() - before == set()
    assert "private" not in app.logged() and "Traceback" not in app.logged()
