"""The Contrast tab in a real browser: pictures and texts come, are pressed, and probabilities follow a slider that asks
nobody."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Request, expect

from tests.kit.browsing import answered, ask, finish, open_page, upload
from vlm_demo.models import loading

pytestmark = pytest.mark.skipif("clip" not in loading.embedded_names(), reason="no model that compares is embedded")

CELLS = "#contrast-table button.cell[data-similarity]"
EVIL = "${alert(1)} {{x}} <img src=x onerror=alert(1)>"


def settled(page: Page) -> None:
    """Wait until the map of what is looked at has been tried, and nothing is being computed."""
    page.wait_for_function(
        "() => document.querySelector('#contrast-map .found')?.textContent.includes('counts')"
        " && !document.querySelector('#contrast-table .doing span')"
        " && !document.querySelector('#contrast-others img.open')"
    )


def similarities(page: Page, columns: int) -> np.ndarray:
    values = page.eval_on_selector_all(CELLS, "cells => cells.map((cell) => +cell.dataset.similarity)")
    return np.array(values).reshape(-1, columns)


def chances(page: Page, columns: int) -> np.ndarray:
    texts = page.locator(f"{CELLS} .chance").all_inner_texts()
    return np.array([float(text.rstrip("%")) for text in texts]).reshape(-1, columns) / 100


def asked_for(request: Request) -> int | None:
    """Which event of the page the server is asked for; None = for a file or the like."""
    events = "/queue/join" in request.url or "/run/predict" in request.url
    return request.post_data_json["fn_index"] if events else None


def softmax(values: np.ndarray, temperature: float, axis: int) -> np.ndarray:
    raised = np.exp((values - values.max(axis, keepdims=True)) / temperature)
    return raised / raised.sum(axis, keepdims=True)


def test_texts_and_pictures_are_compared_and_a_press_shows_where(visitor: Page, app, picture, other, tmp_path) -> None:
    asked: list[int | None] = []
    visitor.on("dialog", lambda dialog: pytest.fail(dialog.message))
    open_page(visitor, app.url)
    upload(visitor, picture)
    ask(visitor, "What is this?")
    finish(visitor)
    answered(visitor)
    visitor.click("#tabs a[href='#contrast']")
    expect(visitor.locator("#contrast-table .told p")).to_have_text("The picture of your chat.")
    visitor.set_input_files("#contrast-tab input[type=file]", str(other))
    expect(visitor.locator("#contrast-table .thumb")).to_have_count(2)
    settled(visitor)

    # A text of one's own: Enter, and the focus waits for the next one.
    before = visitor.locator(f"{CELLS}").count()
    visitor.fill("#contrast-table .text.new", EVIL)
    visitor.press("#contrast-table .text.new", "Enter")
    expect(visitor.locator(CELLS)).to_have_count(before + 2)
    expect(visitor.locator("#contrast-table .text.new")).to_be_focused()
    expect(visitor.locator("#contrast-table .text.new")).to_have_value("")
    expect(visitor.locator("#contrast-map h3:first-of-type")).to_have_text(f"Where clip finds “{EVIL}”")
    settled(visitor)

    # The slider: recomputed here, and nobody is asked.
    others = visitor.evaluate(  # the page's polls of the service's status, and what still follows the chat's answer
        "() => gradio_config.dependencies"
        ".filter((d) => d.targets.some(([, on]) => ['tick', 'then'].includes(on))).map((d) => d.id)"
    )
    visitor.on("request", lambda request: asked.append(asked_for(request)))
    learned = float(visitor.get_attribute("#contrast-table .contrast", "data-learned"))
    known = similarities(visitor, 2)
    assert chances(visitor, 2) == pytest.approx(softmax(known, learned, 0), abs=0.0006)
    visitor.eval_on_selector(
        "#contrast-temperature",
        "slider => { slider.value = 90; slider.dispatchEvent(new Event('input', { bubbles: true })); }",
    )
    warm = 10 ** (-3 + 0.9 * 3)
    assert chances(visitor, 2) == pytest.approx(softmax(known, warm, 0), abs=0.0006)
    visitor.click("#contrast-table [data-over=pictures]")
    assert chances(visitor, 2) == pytest.approx(softmax(known, warm, 1), abs=0.0006)
    visitor.click("#contrast-table .learned")
    assert chances(visitor, 2) == pytest.approx(softmax(known, learned, 1), abs=0.0006)
    assert set(asked) <= {*others, None}

    # A press on a pair: marked at once, its map drawn; what was chosen with the slider stays.
    first = visitor.locator("#contrast-table .text").first.input_value()
    visitor.locator(CELLS).first.click()
    expect(visitor.locator(CELLS).first).to_have_attribute("aria-pressed", "true")
    expect(visitor.locator("#contrast-map h3:first-of-type")).to_have_text(f"Where clip finds “{first}”")
    settled(visitor)
    assert chances(visitor, 2) == pytest.approx(softmax(known, learned, 1), abs=0.0006)
    with visitor.expect_download() as saved:
        visitor.click("#contrast-map .save")
    assert Image.open(saved.value.path()).size == (500, 240)

    # A text is changed, and one is taken away.
    visitor.locator("#contrast-table .text").first.fill("a red circle")
    visitor.locator("#contrast-table .text").first.press("Tab")
    expect(visitor.locator("#contrast-map h3:first-of-type")).to_have_text("Where clip finds “a red circle”")
    rows = visitor.locator("#contrast-table tr[data-text]").count()
    visitor.locator("#contrast-table [data-act=empty]").last.click()
    expect(visitor.locator("#contrast-table tr[data-text]")).to_have_count(rows - 1)
    expect(visitor.locator("#contrast-table .text.new")).to_have_value("")


def test_another_model_says_whether_they_match(visitor: Page, app, picture) -> None:
    visitor.goto(f"{app.url}/#contrast")
    expect(visitor.locator("#contrast-table .told p")).to_contain_text("Examples")
    settled(visitor)
    expect(visitor.locator("#contrast-table thead")).not_to_contain_text("ITM")
    expect(visitor.locator("#contrast-table .notes")).to_contain_text("No ITM")
    if "blip2" not in loading.embedded_names():
        return
    visitor.click("#contrast-table [data-act=judge]")
    expect(visitor.locator("#contrast-table thead")).to_contain_text("blip2")
    shown = visitor.locator("#contrast-table td.wide:last-child").all_inner_texts()
    assert len(shown) == visitor.locator("#contrast-table tr[data-text]").count()
    visitor.select_option("#contrast-table select", "blip2")
    expect(visitor.locator("#contrast-map h3:first-of-type")).to_contain_text("Where blip2 finds")


@pytest.mark.parametrize("size", [(390, 844), (1280, 810)])
def test_nothing_of_the_tab_hangs_over_the_page(visitor: Page, app, size) -> None:
    visitor.set_viewport_size({"width": size[0], "height": size[1]})
    visitor.goto(f"{app.url}/#contrast")
    settled(visitor)
    wide = visitor.evaluate("document.documentElement.scrollWidth")
    assert wide <= size[0]
    if size[0] < 820:
        visitor.locator(CELLS).first.click()
        expect(visitor.locator("#contrast-map h3:first-of-type")).to_be_in_viewport()
        visitor.click("#contrast-map .up")
        expect(visitor.locator("#contrast-table h2")).to_be_in_viewport()


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_may_be_dropped_and_pasted(visitor: Page, app, picture, way) -> None:
    visitor.goto(f"{app.url}/#contrast")
    settled(visitor)
    visitor.evaluate(
        """([way, content]) => {
          const held = new DataTransfer();
          const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
          held.items.add(new File([bytes], "scene.png", { type: "image/png" }));
          const options = { bubbles: true, cancelable: true };
          const made = way === "drop" ? new DragEvent("drop", { dataTransfer: held, ...options })
            : new ClipboardEvent("paste", { clipboardData: held, ...options });
          document.querySelector("#contrast-table").dispatchEvent(made);
        }""",
        [way, base64.b64encode(picture.read_bytes()).decode()],
    )
    expect(visitor.locator("#contrast-table .told p")).to_have_text("The pictures added here.")
    expect(visitor.locator("#contrast-table .thumb")).to_have_count(1)
    settled(visitor)
