"""A shared link: two people in separate browsers and two programs at once, none of whom operates the machine."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from openai import OpenAI
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import App
from tests.kit.browsing import PATIENCE, answered, ask, open_page, speaking, upload

TUNNEL = {"X-Forwarded-For": "203.0.113.7"}  # as the tunnel of a shared link sends it


@pytest.fixture
def guests(browser: Browser) -> Iterator[tuple[Page, Page]]:
    """Two people who came by the link; what a page of theirs complains of fails the test."""
    contexts = [browser.new_context(extra_http_headers=TUNNEL) for _ in range(2)]
    complaints: list[str] = []
    pages = []
    for context in contexts:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        pages.append(page)
    yield pages[0], pages[1]
    for context in contexts:
        context.close()
    assert not complaints


def test_two_guests_wait_for_one_another_and_see_nothing_of_each_other(
    guests: tuple[Page, Page], slow_app: App, talkative: Path, picture: Path, other: Path
) -> None:
    ann, ben = guests
    open_page(ann, slow_app.url)
    open_page(ben, slow_app.url)
    upload(ann, picture)
    ask(ann, "What did Ann bring?")
    speaking(ann)
    upload(ben, other)
    ask(ben, "What did Ben bring?")
    expect(ben.locator("#live")).to_contain_text("1 question before it")

    # Ann's page goes on; Ben's is next.
    ann.click(".stop-button")
    answered(ann)
    speaking(ben)
    ben.click(".stop-button")
    answered(ben)
    for page, name, others in ((ann, "Ann", "Ben"), (ben, "Ben", "Ann")):
        html = page.content()
        assert f"What did {name} bring?" in html and f"What did {others} bring?" not in html
        expect(page.locator(".bubble img")).to_have_count(1)
    assert ann.get_attribute(".bubble img", "src") != ben.get_attribute(".bubble img", "src")

    # Neither can choose another model, or sees where this one is stored and which others there are.
    for page in guests:
        expect(page.locator(".chip select:disabled")).to_have_count(2)
        shown = page.content() + page.request.get(f"{slow_app.url}/config").text()
        assert str(talkative.parent) not in shown and "HuggingFaceTB/" not in shown

    # What Ann clears is Ann's: Ben's chat goes on where it was.
    answer = ben.locator("#chat .words").first.inner_text()
    ann.click("#clear")
    expect(ann.locator("#chat .turn")).to_have_count(0)
    ask(ben, "And what else?")
    speaking(ben)
    ben.click(".stop-button")
    answered(ben, 2)
    expect(ben.locator("#chat .words").first).to_have_text(answer)


def test_two_programs_and_a_page_at_once(guests: tuple[Page, Page], slow_app: App, picture: Path) -> None:
    page, _ = guests
    client = OpenAI(base_url=f"{slow_app.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE / 1000)
    (model,) = client.models.list()
    assert "/" not in model.id

    def programs(question: str) -> object:
        url = {"url": f"data:image/png;base64,{b64encode(picture.read_bytes()).decode()}"}
        content = [{"type": "text", "text": question}, {"type": "image_url", "image_url": url}]
        return client.chat.completions.create(
            model=model.id, max_tokens=4, messages=[{"role": "user", "content": content}]
        )

    open_page(page, slow_app.url)
    upload(page, picture)
    ask(page, "What is this?")
    speaking(page)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(programs, question) for question in ("What is this?", "How many are there?")]
        page.click(".stop-button")
        first, second = (one.result() for one in waiting)
    answered(page)
    for given in (first, second):
        assert given.choices[0].message.content and given.usage.completion_tokens == 4
    # The page's visitor asked the first of the two about the same picture, and none of that is remembered for others.
    assert min(given.usage.prompt_tokens_details.cached_tokens for given in (first, second)) == 0
