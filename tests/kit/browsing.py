"""What a visitor does on the page in a real browser."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, Request, Route, expect

PATIENCE = 120_000  # milliseconds; a busy machine is no reason to fail
COMPOSER = "#composer textarea"
FILES = "#composer input[type=file]"
THUMBNAILS = "#composer .thumbnail-item"

expect.set_options(timeout=PATIENCE)


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector(".welcome")
    page.wait_for_selector(COMPOSER)  # is put in after what it stands below


def thumbnails(page: Page, count: int) -> None:
    """Wait until the composer shows so many pictures. Their files go when they are sent or cleared, so on a busy
    machine the page could ask for one in vain, which no person would see."""
    expect(page.locator(THUMBNAILS)).to_have_count(count)
    page.wait_for_function(
        "selector => [...document.querySelectorAll(selector)].every((image) => image.complete)", arg=f"{THUMBNAILS} img"
    )


def upload(page: Page, *files: Path) -> None:
    before = page.locator(THUMBNAILS).count()
    page.set_input_files(FILES, [str(file) for file in files])
    thumbnails(page, before + len(files))


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


def predicts(request: Request, dependency: int) -> bool:
    """Whether it asks the server to do what an event is bound to."""
    return "/run/predict" in request.url and request.post_data_json["fn_index"] == dependency


class Held:
    """Holds back the replies to one kind of event until it is released, as a slow connection does."""

    def __init__(self, page: Page, dependency: int):
        self.routes: list[Route] = []
        self.page, self.held = page, True
        page.route("**/run/predict*", lambda route: self._meet(route, dependency))

    def _meet(self, route: Route, dependency: int) -> None:
        if self.held and predicts(route.request, dependency):
            self.routes.append(route)
        else:
            route.continue_()

    def reply(self) -> None:
        """Let the server receive the first of them, without passing on its reply."""
        for _ in range(PATIENCE // 20):
            if self.routes:
                break
            self.page.wait_for_timeout(20)
        self.response = self.routes[0].fetch()

    def let_go(self) -> None:
        self.held = False
        self.routes[0].fulfill(response=self.response)


def dependency(page: Page, element: str, event: str = "click") -> int:
    """The number under which Gradio calls what hears an event of a component."""
    return page.evaluate(
        """([element, event]) => {
            const { id } = gradio_config.components.find((c) => c.props.elem_id === element);
            return gradio_config.dependencies.find((d) => d.targets.some(([of, on]) => of === id && on === event)).id;
        }""",
        [element, event],
    )
