"""What a hand does: scroll with a wheel or a finger, press while a reply is on its way, drag a picture there."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.kit.browsing import (
    COMPOSER,
    Held,
    answered,
    ask,
    dependency,
    finish,
    open_page,
    predicts,
    thumbnails,
    upload,
)

SIZES = {"phone": (390, 844), "small window": (800, 600)}
# A word of a sentence may be narrower: WCAG 2.5.8 excepts targets whose size the text's line gives.
TARGETS = """() => [...document.querySelectorAll('button, select, textarea, summary, label:has(input)')]
  .map((element) => [element, element.getBoundingClientRect()])
  .filter(([element, box]) => box.width && box.height && getComputedStyle(element).visibility === 'visible')
  .filter(([element, box]) => (box.width < 24 && !element.matches('.word')) || box.height < 24)
  .map(([element, box]) => `${element.outerHTML.slice(0, 90)} ${box.width} × ${box.height}`)"""
# Cumulative layout shift as web.dev/articles/cls defines it, but for what follows a press: a slow reply counts too.
SHIFTS = """window.shifted = 0; let first = 0, last = 0, sum = 0; new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const more = entry.startTime - last < 1000 && entry.startTime - first < 5000;
    [sum, first, last] = [more ? sum + entry.value : entry.value, more ? first : entry.startTime, entry.startTime];
    window.shifted = Math.max(window.shifted, sum);
  }
}).observe({ type: 'layout-shift', buffered: true });"""


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def narrow(request, browser: Browser) -> Iterator[Page]:
    """A page in a narrow window that can be touched, in the dark."""
    width, height = request.param
    size = {"width": width, "height": height}
    context = browser.new_context(viewport=size, color_scheme="dark", has_touch=True, reduced_motion="reduce")
    context.set_default_timeout(120_000)
    yield context.new_page()
    context.close()


def wheel(page: Page, by: int) -> None:
    size = page.viewport_size
    page.mouse.move(size["width"] / 2, size["height"] / 3)
    page.mouse.wheel(0, by)


def swipe(page: Page, by: int) -> None:
    """A finger that pushes the page up by so many pixels, and as far as it then glides."""
    size, finger = page.viewport_size, page.context.new_cdp_session(page)
    x, start, step = size["width"] // 2, size["height"] / 2, min(max(by, -250), 250) / 10
    for _ in range(max(1, abs(by) // 250)):
        finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": start}]})
        for i in range(1, 11):
            there = {"x": x, "y": start - i * step}
            finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [there]})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def scrolled(page: Page, than: float, further: bool = True) -> None:
    page.wait_for_function(f"than => scrollY {'>' if further else '<'} than", arg=than)


def about_to_answer(page: Page, url: str, picture: Path) -> None:
    open_page(page, url)
    upload(page, picture)
    ask(page, "Describe the picture.")
    finish(page)
    answered(page)
    page.wait_for_selector("img.overlay")


def above_the_composer(page: Page, selector: str) -> bool:
    """Whether the end of it can be seen, and does not lie behind the composer."""
    box, desk = page.locator(selector).last.bounding_box(), page.locator("#desk").bounding_box()
    return 0 < box["y"] + box["height"] <= desk["y"]


def test_a_narrow_page_scrolls_to_its_end_and_back(narrow, app, picture):
    about_to_answer(narrow, app.url, picture)
    assert narrow.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for move in (wheel, swipe):
        start = narrow.evaluate("scrollY")
        move(narrow, 300)
        scrolled(narrow, start)
        move(narrow, narrow.evaluate("document.documentElement.scrollHeight"))
        narrow.wait_for_function("() => scrollY + innerHeight >= document.documentElement.scrollHeight - 2")
        assert above_the_composer(narrow, "#heatmap section")
        expect(narrow.locator(COMPOSER)).to_be_in_viewport()
        move(narrow, -narrow.evaluate("document.documentElement.scrollHeight"))
        scrolled(narrow, 1, further=False)
        expect(narrow.locator(".bubble").first).to_be_in_viewport()


def test_a_pressed_word_shows_its_map_and_the_way_back(narrow, app, picture):
    about_to_answer(narrow, app.url, picture)
    narrow.locator(".turn .word").last.tap()
    narrow.wait_for_function(
        "() => document.querySelector('.maps').getBoundingClientRect().bottom"
        " <= document.querySelector('#desk').getBoundingClientRect().top"
    )
    wheel(narrow, 9000)
    narrow.locator("#back").tap()
    expect(narrow.locator(".word[aria-pressed=true]")).to_be_in_viewport()
    expect(narrow.locator("#back")).to_be_hidden()


def test_on_a_narrow_page_nothing_jumps_and_every_target_is_large_enough(narrow, app):
    narrow.add_init_script(SHIFTS)
    open_page(narrow, app.url)
    expect(narrow.locator(".chip")).to_have_count(2)
    assert narrow.evaluate(TARGETS) == []
    narrow.locator(".example").first.tap()
    finish(narrow)
    answered(narrow)
    narrow.wait_for_selector("img.overlay")
    assert narrow.evaluate(TARGETS) == []
    assert narrow.evaluate("window.shifted") < 0.1


def test_the_focus_stays_on_the_page_after_an_example(visitor, app):
    open_page(visitor, app.url)
    visitor.locator(".example").first.focus()
    visitor.keyboard.press("Enter")
    answered_or_speaking = "() => document.querySelector('.turn')"
    visitor.wait_for_function(answered_or_speaking)
    expect(visitor.locator(COMPOSER)).to_be_focused()
    finish(visitor)


@pytest.mark.parametrize("button", ["clear", "undo"])
def test_clear_and_undo_before_the_reply_to_send_leave_nothing_waiting(visitor, app, picture, button):
    open_page(visitor, app.url)
    upload(visitor, picture)
    held = Held(visitor, dependency(visitor, "composer", "submit"))
    ask(visitor, "What shape is red?")
    held.reply()
    pressed = dependency(visitor, button)
    with visitor.expect_response(lambda response: predicts(response.request, pressed)) as first:
        visitor.click(f"#{button}")
    first.value.finished()
    held.let_go()
    visitor.wait_for_selector(".welcome")
    expect(visitor.locator("#live p")).to_have_count(0)
    expect(visitor.locator(".turn")).to_have_count(0)
    expect(visitor.locator(".stop-button")).to_have_count(0)
    expect(visitor.locator(COMPOSER)).to_have_value("What shape is red?" if button == "undo" else "")
    thumbnails(visitor, 1 if button == "undo" else 0)
    assert "Traceback" not in app.logged() and "withheld" not in app.logged()


def test_a_model_that_cannot_be_fetched_leaves_the_name_of_the_one_that_answers(visitor, app):
    open_page(visitor, app.url)
    chip = visitor.locator(".chip select").first
    before = chip.input_value()
    wanted = chip.locator("option:not([disabled])", has_text="download").first.get_attribute("value")
    chip.select_option(wanted)
    expect(visitor.locator("#notice .problem")).to_contain_text("stays in service")
    expect(chip).to_have_value(before)
    expect(visitor.locator("#notice .problem")).not_to_contain_text("clip,")


def test_a_complaint_goes_as_soon_as_something_is_typed(visitor, app):
    open_page(visitor, app.url)
    settled = visitor.evaluate(  # what is called after the reply
        "asked => gradio_config.dependencies.find((d) => d.trigger_after === asked).id",
        dependency(visitor, "composer", "submit"),
    )
    for _ in range(2):  # the same complaint comes again
        with visitor.expect_response(lambda response: predicts(response.request, settled)) as after:
            ask(visitor, "What is it?")
        after.value.finished()
        visitor.evaluate("() => new Promise(requestAnimationFrame)")
        expect(visitor.locator("#status .problem")).to_contain_text("no picture")
        visitor.press(COMPOSER, "!")
        expect(visitor.locator("#status .problem")).to_have_count(0)


def test_a_picture_is_dropped_anywhere_and_the_page_says_so(visitor, app, picture):
    open_page(visitor, app.url)
    mouse = visitor.context.new_cdp_session(visitor)
    data = {"items": [], "files": [str(picture)], "dragOperationsMask": 1}
    place = {"x": 300, "y": 300, "data": data}
    mouse.send("Input.dispatchDragEvent", {"type": "dragEnter", **place})
    mouse.send("Input.dispatchDragEvent", {"type": "dragOver", **place})
    label = "getComputedStyle(document.getElementById('columns'), '::after').content"
    assert "Drop the picture" in visitor.evaluate(label)
    mouse.send("Input.dispatchDragEvent", {"type": "drop", **place})
    thumbnails(visitor, 1)
    assert visitor.evaluate(label) == "none"
    mouse.send("Input.dispatchDragEvent", {"type": "dragEnter", **place})
    mouse.send("Input.dispatchDragEvent", {"type": "dragCancel", **place})
    visitor.mouse.move(310, 310)
    visitor.wait_for_function(f"() => {label} === 'none'")


DROP = """async ([selector, content]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], 'dropped.png', { type: 'image/png' }));
  const target = document.querySelector(selector);
  const event = selector.includes('textarea')
    ? new ClipboardEvent('paste', { clipboardData: carried, bubbles: true, cancelable: true })
    : new DragEvent('drop', { dataTransfer: carried, bubbles: true, cancelable: true });
  target.dispatchEvent(event);
}"""


def test_pictures_can_be_dropped_anywhere_and_pasted(visitor, app, picture):
    open_page(visitor, app.url)
    content = base64.b64encode(picture.read_bytes()).decode()
    for number, target in enumerate(("#composer .full-container", "#talk", COMPOSER), 1):
        visitor.evaluate(DROP, [target, content])
        thumbnails(visitor, number)


def test_a_picture_is_pasted_anywhere(visitor, app, picture):
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_page(visitor, app.url)
    content = base64.b64encode(picture.read_bytes()).decode()
    visitor.evaluate(
        """async (content) => {
          const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
          const file = new Blob([bytes], { type: 'image/png' });
          await navigator.clipboard.write([new ClipboardItem({ 'image/png': file })]);
          document.activeElement.blur();
        }""",
        content,
    )
    visitor.mouse.click(300, 20)
    visitor.keyboard.press("Control+V")
    thumbnails(visitor, 1)


def test_a_toggle_that_is_off_is_seen_in_the_dark(browser, app):
    """The contrast of its track with the panel, as WCAG counts it: at least 3 to 1."""
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    open_page(page, app.url)

    def brightness(selector: str) -> float:
        colour = page.evaluate(
            "selector => getComputedStyle(document.querySelector(selector)).backgroundColor", selector
        )
        parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    track, panel = brightness("#evidence input"), brightness("#left")
    assert (track + 0.05) / (panel + 0.05) >= 3
    context.close()
