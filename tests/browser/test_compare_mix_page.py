"""A custom mix in a real browser: what is pressed stays pressed, and a picture is dropped on the tab."""

from __future__ import annotations

from playwright.sync_api import Page, expect


def test_a_mix_is_laid_out_with_a_dropped_picture(visitor: Page, app, picture) -> None:
    visitor.goto(f"{app.url}/#compare")
    visitor.locator("#compare-table .example").first.click()
    expect(visitor.locator("#compare-start .vary figure")).to_have_count(1)
    expect(visitor.locator("#compare-question textarea")).not_to_have_value("")
    visitor.click(".segments button:has-text('Own mix')")
    sides = visitor.locator("#compare-start .sides li")
    expect(sides).to_have_count(2)

    evidence = sides.nth(1).get_by_label("Evidence only")
    before = evidence.is_checked()
    evidence.click()
    expect(evidence).to_have_attribute("data-checked", str(not before).lower())  # the server has received it
    expect(evidence).to_be_checked(checked=not before)
    visitor.get_by_role("button", name="Add a column").click()
    expect(sides).to_have_count(3)
    expect(visitor.locator("#compare-go")).to_have_text("Ask all three")

    mouse = visitor.context.new_cdp_session(visitor)
    data = {"items": [], "files": [str(picture)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        mouse.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
    expect(visitor.locator("#compare-start .vary figure")).to_have_count(2)
    second = sides.nth(2).get_by_label("Picture 2", exact=True)
    second.click()
    expect(second).to_have_attribute("aria-pressed", "true")
    sides.nth(2).get_by_role("button", name="Take column 3 off").click()
    expect(sides).to_have_count(2)
