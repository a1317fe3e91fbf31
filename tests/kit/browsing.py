"""What a visitor does on the page in a real browser."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

PATIENCE = 120_000  # milliseconds; a busy machine is no reason to fail
COMPOSER = "#composer textarea"
FILES = "#composer input[type=file]"

expect.set_options(timeout=PATIENCE)


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector(".welcome")
    page.wait_for_selector(COMPOSER)  # is put in after what it stands below


def upload(page: Page, *files: Path) -> None:
    before = page.locator("#composer .thumbnail-item").count()
    page.set_input_files(FILES, [str(file) for file in files])
    expect(page.locator("#composer .thumbnail-item")).to_have_count(before + len(files))


def ask(page: Page, question: str) -> None:
    page.fill(COMPOSER, question)
    page.press(COMPOSER, "Enter")


def answered(page: Page, turns: int = 1) -> None:
    page.wait_for_selector(f".turn:nth-child({turns}) .answer .truth")


def speaking(page: Page) -> None:
    """Wait for more than a word: what is stopped before its first letters is no answer, and has no word to press."""
    page.wait_for_function("() => /\\w \\S/.test(document.querySelector('#live .words')?.textContent ?? '')")


def finish(page: Page) -> None:
    """Let an answer of the embedded model come to its end; stop one of a model that goes on and on."""
    words = "document.querySelector('#live .words')?.textContent ?? ''"
    page.wait_for_function(f"() => document.querySelector('.turn .word') || /\\w/.test({words})")
    page.wait_for_timeout(500)
    page.evaluate("document.querySelector('.stop-button')?.click()")  # in one go: it may be gone at any moment
