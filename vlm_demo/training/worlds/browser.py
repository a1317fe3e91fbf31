"""Browser: a page of HTML → its picture, the box of every marked element and of every printed word.

One Chromium in its own thread, started when it is first needed, without network and with the fonts that matplotlib
carries, so that a page drawn by seed looks the same with the same Chromium. Knows nothing of the page's contents.
"""

from __future__ import annotations

import base64
import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from vlm_demo.contracts import OcrWord
from vlm_demo.errors import VlmDemoError

Box = tuple[float, float, float, float]

FONTS = {
    "sans": "DejaVuSans", "sans-bold": "DejaVuSans-Bold", "sans-italic": "DejaVuSans-Oblique",
    "mono": "DejaVuSansMono", "mono-bold": "DejaVuSansMono-Bold", "serif": "DejaVuSerif",
    "serif-italic": "DejaVuSerif-Italic", "times": "STIXGeneral", "times-bold": "STIXGeneralBol",
    "serif-bold": "DejaVuSerif-Bold",
}  # fmt: skip
HELD_OUT_FONT = "serif-bold"  # the only one that training never sees
TRAINED_FONTS = tuple(font for font in FONTS if font != HELD_OUT_FONT)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --disable-lcd-text --font-render-hinting=none --force-color-profile=srgb --hide-scrollbars"
).split()
WIDEST, TALLEST = 1600, 4000  # pixels of a page
ROW = 0.5  # of a word's height: two words this near in height are on one line

# Marked elements carry data-thing; a word is a run of anything but spaces.
_MEASURE = """html => {
  const sheet = document.getElementById('sheet');
  sheet.innerHTML = html;
  return document.fonts.ready.then(() => {
    const box = r => [r.left, r.top, r.right, r.bottom];
    const things = {}, words = [];
    for (const e of sheet.querySelectorAll('[data-thing]'))
      things[e.dataset.thing] = box(e.getBoundingClientRect());
    const walker = document.createTreeWalker(sheet, NodeFilter.SHOW_TEXT);
    const range = document.createRange();
    while (walker.nextNode()) {
      const node = walker.currentNode;
      if (node.parentElement.closest('style')) continue;
      for (const found of node.textContent.matchAll(/\\S+/g)) {
        range.setStart(node, found.index);
        range.setEnd(node, found.index + found[0].length);
        words.push([found[0], box(range.getBoundingClientRect())]);
      }
    }
    return {size: box(sheet.getBoundingClientRect()), things, words};
  });
}"""


@dataclass(frozen=True)
class RenderedPage:
    """A page as it was drawn; all boxes are x0, y0, x1, y1 in its pixels.

    Attributes:
        image: RGB.
        boxes: of every element with ``data-thing``, by that attribute's value.
        lines: the printed words, line by line from the top.
    """

    image: Image.Image
    boxes: dict[str, Box]
    lines: list[list[OcrWord]]

    @property
    def printed(self) -> dict[str, Any]:
        """The facts ``words`` and ``texts`` of a picture."""
        return printed(self.lines)


def printed(lines: list[list[OcrWord]]) -> dict[str, Any]:
    """The facts of printed lines: ``words``, each with its box, and ``texts``, the same as text."""
    return {"words": lines, "texts": [" ".join(word.text for word in line) for line in lines]}


def page(template: str, **values: Any) -> RenderedPage:
    """Draw ``templates/<template>`` with these values; a value is never markup.

    Raises:
        VlmDemoError: Chromium or Playwright is missing; says what to do.
    """
    html = _templates().get_template(template).render(values)
    return _thread().submit(_drawn, html).result()


@lru_cache(maxsize=1)
def _templates() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def lines_of(words: list[OcrWord]) -> list[list[OcrWord]]:
    """Words side by side as lines, from the top; within a line from the left."""
    lines: list[list[OcrWord]] = []
    for word in sorted(words, key=lambda w: (w.box[1] + w.box[3], w.box[0])):
        middle, height = (word.box[1] + word.box[3]) / 2, word.box[3] - word.box[1]
        last = lines[-1][0].box if lines else (0, -1000, 0, -1000)
        if abs(middle - (last[1] + last[3]) / 2) < ROW * min(height, last[3] - last[1]):
            lines[-1].append(word)
        else:
            lines.append([word])
    return [sorted(line, key=lambda w: w.box[0]) for line in lines]


@lru_cache(maxsize=1)
def _thread() -> ThreadPoolExecutor:
    """The thread that owns the browser: Playwright's synchronous interface stays in the thread that started it."""
    return ThreadPoolExecutor(1, "chromium")


@lru_cache(maxsize=1)
def _opened() -> Any:
    """An empty page with the fonts."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise VlmDemoError(
            "Screens, documents and texts are drawn by Playwright, which is missing; run: "
            "pip install -r requirements-train.txt"
        ) from error
    playwright = sync_playwright().start()
    try:
        return _empty_page(playwright)
    except BaseException as error:
        playwright.stop()  # or else the next try would find it running
        if not isinstance(error, Error):
            raise
        raise VlmDemoError(
            "Screens, documents and texts are drawn by Chromium, which could not be started; run: make chromium"
        ) from error


def _empty_page(playwright: Any) -> Any:
    browser = playwright.chromium.launch(executable_path=_chromium(), args=FLAGS)
    page = browser.new_context(viewport={"width": WIDEST, "height": TALLEST}, offline=True).new_page()
    page.set_content(
        f"<!doctype html><meta charset=utf-8><style>{_faces()}</style>"
        "<body style='margin:0'><div id=sheet style='display:inline-block'></div></body>"
    )
    page.evaluate("names => Promise.all(names.map(n => document.fonts.load(`16px '${n}'`)))", list(FONTS))
    return page


def _chromium() -> str | None:
    """The installed Chromium; None for the one that Playwright brings. What only points to a snap doesn't count: it
    can't be run in containers."""
    for name in CHROMIUM:
        path = shutil.which(name)
        if path and "/snap/" not in str(Path(path).resolve()) and b"/snap/" not in Path(path).read_bytes()[:4096]:
            return path
    return None


def _faces() -> str:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    coded = {name: base64.b64encode((folder / f"{file}.ttf").read_bytes()).decode() for name, file in FONTS.items()}
    return "".join(f"@font-face{{font-family:'{n}';src:url(data:font/ttf;base64,{c})}}" for n, c in coded.items())


def _drawn(html: str) -> RenderedPage:
    opened = _opened()
    measured = opened.evaluate(_MEASURE, html)
    _, _, width, height = measured["size"]
    clip = {"x": 0, "y": 0, "width": min(round(width), WIDEST), "height": min(round(height), TALLEST)}
    shot = Image.open(io.BytesIO(opened.screenshot(clip=clip, animations="disabled"))).convert("RGB")
    words = [
        OcrWord(text, (round(x0), round(y0), round(x1), round(y1)), 100.0)
        for text, (x0, y0, x1, y1) in measured["words"]
    ]
    boxes: dict[str, Box] = {key: (x0, y0, x1, y1) for key, (x0, y0, x1, y1) in measured["things"].items()}
    return RenderedPage(shot, boxes, lines_of(words))
