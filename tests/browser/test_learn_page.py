"""The Learn tab in a real browser: it opens on the answer of Chat, stages scroll, arithmetic is the browser's."""

from __future__ import annotations

from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from tests.kit.browsing import answered, ask, finish, open_page, upload

EVIL = "${alert(1)} {{x}} <img src=x onerror=window.hit=1>"


def learn(page: Page, url: str, *pictures, question: str = "Describe the picture.") -> None:
    open_page(page, url)
    upload(page, *pictures)
    ask(page, question)
    finish(page)
    answered(page)
    page.click("#tabs a[href='#learn']")
    page.wait_for_selector("#learn-lens [data-lens]")


def test_stages_light_up_and_scroll_to_their_details(visitor: Page, app, picture) -> None:
    learn(visitor, app.url, picture)
    stage = visitor.locator("#learn-stages .stage")
    assert stage.count() >= 6
    expect(visitor.locator("#learn-tab")).to_be_visible()
    llm = visitor.locator("#learn-stages [data-stage=llm].stage")
    llm.click()
    expect(llm).to_have_attribute("aria-pressed", "true")
    expect(visitor.locator("#learn-lens")).to_be_in_viewport()
    visitor.locator("#learn-stages [data-stage=prompt].stage").click()
    expect(llm).to_have_attribute("aria-pressed", "false")
    expect(visitor.locator("#learn-note-prompt")).to_be_in_viewport(ratio=0.9)

    # Replay lights one after the other, and asks the server for nothing.
    asked = []
    visitor.on("request", lambda request: asked.append(request.url) if "/run/" in request.url else None)
    visitor.evaluate(
        """() => { window.lit = []; new MutationObserver(() => {
        const now = document.querySelector('#learn-stages .stage.lit')?.dataset.stage;
        if (now && window.lit.at(-1)?.[0] !== now) window.lit.push([now, performance.now()]); })
        .observe(document.getElementById('learn-stages'), { subtree: true, attributes: true }); }"""
    )
    visitor.click("#learn-stages .replay")
    expect(visitor.locator("#learn-stages .replay")).to_have_attribute("aria-pressed", "true")
    expect(visitor.locator("#learn-stages .replay")).to_have_attribute("aria-pressed", "false")
    lit = visitor.evaluate("window.lit")
    timed = [
        entry for entry in stage.evaluate_all("all => all.map(s => [s.dataset.stage, +s.dataset.seconds])") if entry[1]
    ]
    assert [name for name, _ in lit] == [name for name, _ in timed]
    longest = max(timed, key=lambda entry: entry[1])
    lasted = {name: end - start for (name, start), (_, end) in pairwise(lit)}
    assert max(lasted, key=lambda name: lasted[name]) == longest[0]
    assert not [url for url in asked if "predict" not in url]


def test_words_and_temperature_are_the_browsers_own_arithmetic(visitor: Page, app, picture, other) -> None:
    learn(visitor, app.url, picture, other)
    slider = visitor.locator("#learn-features [data-act=temperature]")
    shares = visitor.locator("#learn-features ol > li .figure")

    def read() -> list[float]:
        return [float(text.removesuffix(" %")) for text in shares.all_text_contents()]

    at_one = read()
    assert sum(at_one) == pytest.approx(100, abs=1.2)
    first = float(visitor.locator("#learn-lens tbody tr").last.locator(".figure").first.text_content())
    slider.fill("0")
    expect(visitor.locator("#learn-features output")).to_have_text("0.1")
    cold = read()
    slider.fill("11")
    hot = read()
    assert cold[0] >= at_one[0] >= hot[0] and sum(cold) == pytest.approx(100, abs=1.2)
    assert at_one[0] / 100 == pytest.approx(first, abs=0.006)  # the last layer gives the model's probability
    visitor.get_by_role("button", name="Picture 2").click()
    expect(visitor.locator("#learn-features h2").first).to_contain_text("of picture 2")
    expect(visitor.locator("#learn-features output")).not_to_have_text("1.0")  # the slider's, which stays
    assert read() == hot
    words = visitor.locator("#learn-losses [data-act=word]")
    if words.count() > 1:
        words.last.click()
        expect(visitor.locator("#learn-lens .now")).to_have_text(words.last.inner_text().strip())
        expect(visitor.locator("#learn-lens [data-by='1']")).to_be_disabled()
        visitor.click("#learn-lens [data-by='-1']")
        expect(visitor.locator("#learn-lens [data-by='1']")).to_be_enabled()
    more = visitor.locator("#learn-lens .more")
    if more.count():
        shown = visitor.locator("#learn-lens tbody tr:visible").count()
        more.click()
        assert visitor.locator("#learn-lens tbody tr:visible").count() > shown


def test_text_of_a_person_runs_nowhere_and_the_address_keeps_its_settings(visitor: Page, app, picture) -> None:
    visitor.goto(f"{app.url}/?__theme=dark")
    visitor.wait_for_selector(".welcome")
    upload(visitor, picture)
    ask(visitor, EVIL)
    finish(visitor)
    answered(visitor)
    visitor.click("#tabs a[href='#learn']")
    visitor.wait_for_selector("#learn-lens [data-lens]")  # a link that loaded the page anew would have lost the answer
    assert visitor.url.endswith("?__theme=dark#learn")
    visitor.fill("#learn-text", EVIL)
    visitor.click("#learn-losses [type=submit]")
    visitor.wait_for_selector("#learn-losses .doing")
    expect(visitor.locator("#learn-losses .doing")).to_have_count(0)
    expect(visitor.locator("#learn-text")).to_have_value(EVIL)
    assert visitor.evaluate("window.hit") is None


@pytest.mark.parametrize("width", [390, 800])
def test_it_fits_narrow_windows(visitor: Page, app, picture, width: int) -> None:
    visitor.set_viewport_size({"width": width, "height": 844})
    learn(visitor, app.url, picture)
    assert visitor.evaluate("document.documentElement.scrollWidth") <= width
    visitor.locator("#learn-stages [data-stage=encoder].stage").click()
    expect(visitor.locator("#learn-features")).to_be_in_viewport()
    visitor.mouse.move(width / 2, 400)
    before = visitor.locator("#learn-features").bounding_box()["y"]
    visitor.mouse.wheel(0, 300)
    visitor.wait_for_function(
        "y => document.getElementById('learn-features').getBoundingClientRect().top < y", arg=before
    )
