"""What axe, the field's checker of accessibility, finds on the page: nothing serious."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.kit.browsing import PATIENCE, answered, open_page

TABS = ("Heatmap", "What it sees", "Prompt", "Text", "Stages", "Checks")
# A tab of the page → what stands there once it shows the answer.
PAGES = {
    "compare": "#compare-tab img",
    "contrast": "#contrast-tab img",
    "learn": "#learn-tab .lesson",
    "mask": "#mask-tab canvas",
    "faq": "#faq-tab .sweep",
}
OPEN = """(name) => [...document.querySelectorAll("#inspector button[role=tab], #inspector .overflow-dropdown button")]
  .find((button) => button.textContent.trim() === name).click()"""


def serious(page: Page) -> list[str]:
    """What is serious or critical, with the element that it was found on."""
    found = Axe().run(page).response["violations"]
    wrong = [violation for violation in found if violation["impact"] in ("serious", "critical")]
    return [f"{violation['id']}: {violation['help']}: {violation['nodes'][0]['html']}" for violation in wrong]


@pytest.mark.parametrize(("width", "height", "theme"), [(1280, 810, "dark"), (390, 844, "light")])
def test_nothing_serious(browser, app, width, height, theme):
    context = browser.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    open_page(page, f"{app.url}/?__theme={theme}")
    assert serious(page) == []
    page.locator(".example").first.click()
    answered(page)
    page.wait_for_selector("img.overlay")
    for tab in TABS:
        page.evaluate(OPEN, tab)
        page.wait_for_timeout(400)
        assert serious(page) == [], tab
    for tab, shown in PAGES.items():
        page.click(f"#tabs a[href='#{tab}']")
        page.wait_for_selector(shown)
        page.wait_for_timeout(1000)
        assert serious(page) == [], tab
    context.close()
