"""Screen HTML: user interfaces as web pages, rendered by a real browser, with the truth read from its DOM.

Other letters, edges and controls than `screens` draws. ``python -m vlm_demo.synthetic.screen_html FOLDER`` renders,
`read_rendered` reads such a folder back as pictures. The HTML depends on the seed alone, its pixels on the machine's
browser and fonts too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlm_demo.synthetic.printed import texts
from vlm_demo.synthetic.screen_sheet import RGB, Look, ink_on, lines, mix, random_look, seen_shares
from vlm_demo.synthetic.screen_words import Words
from vlm_demo.synthetic.world import TRAITS, Picture, Thing, drawn_colour

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1")
FAMILIES = (
    "Arial, sans-serif", "'Helvetica Neue', 'Liberation Sans', sans-serif", "system-ui, sans-serif", "sans-serif",
    "Verdana, 'DejaVu Sans', sans-serif", "Georgia, serif", "'Courier New', monospace",
)  # fmt: skip
COMPONENTS = (
    "button", "button", "button", "buttons", "tabs", "tabs", "chip", "chips", "navigation bar", "navigation bar",
    "top app bar", "tag", "checkbox", "switch", "radio buttons", "slider", "text field", "dialog", "list",
)  # fmt: skip
SIGNS = "★♥●■▲◆☰✉✓⌂"
# What the browser says of the page: the marked elements, and every word with its box.
_COLLECT = """() => {
  const box = r => [r.left, r.top, r.right, r.bottom];
  const things = [...document.querySelectorAll('[data-kind]')].map(e => {
    const input = e.matches('input') ? e : e.querySelector('input');
    const states = [];
    const ticked = input && ['checkbox', 'radio'].includes(input.type);
    if (ticked) states.push(input.checked ? 'on' : 'off');
    if (e.getAttribute('aria-selected') === 'true' || (ticked && input.type === 'radio' && input.checked))
      states.push('selected');
    if (e.matches(':disabled') || (input && input.disabled)) states.push('disabled');
    if (e.dataset.outlined) states.push('outlined');
    const field = e.dataset.kind === 'text field'
      ? {label: e.dataset.label, hint: input.value ? '' : input.placeholder, value: input.value} : null;
    return {kind: e.dataset.kind, text: e.dataset.text ?? e.innerText.trim(), colour: e.dataset.colour,
            sure: e.dataset.sure ?? null, heading: 'heading' in e.dataset, box: box(e.getBoundingClientRect()),
            states, field};
  });
  const words = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.parentElement.closest('.sign')) continue;
    for (const word of node.data.matchAll(/\\S+/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      words.push([...box(range.getBoundingClientRect()), word[0]]);
    }
  }
  for (const input of document.querySelectorAll('input[type=text]')) {
    const [x0, y0, x1, y1] = box(input.getBoundingClientRect());
    const middle = (y0 + y1) / 2, shown = input.value || input.placeholder;
    if (shown) words.push([x0 + 8, middle - 8, Math.min(x1, x0 + 8 + 8 * shown.length), middle + 8, shown]);
  }
  const frame = document.querySelector('#frame').getBoundingClientRect();
  return {things, words, frame: box(frame)};
}"""


def compose(rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
    """A page's HTML, and what is known of it: ``component``, ``dark``, ``width`` and ``height``."""
    return PageMaker(rng).page()


class PageMaker:
    """Writes one page in a random theme."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.size = int(rng.integers(12, 20))
        self.look: Look = random_look(rng, self.size, held_out=False)
        self.words = Words(rng, loud=rng.random() < 0.15)
        self.corner = int(rng.choice([0, 3, 4, 6, 8, 12, 20]))
        self.native = rng.random() < 0.5

    def page(self) -> tuple[str, dict[str, Any]]:
        """The HTML and what is known of it."""
        rng = self.rng
        component = str(rng.choice(COMPONENTS)) if rng.random() < 0.4 else ""
        phone = rng.random() < 0.55
        width = int(rng.integers(300, 421)) if phone or component else int(rng.integers(480, 861))
        height = int(rng.integers(500, 801)) if phone else int(width * rng.uniform(0.5, 0.8))
        if component in ("button", "buttons", "tag", "chip", "chips", "checkbox", "radio buttons"):
            style = f"display:inline-block; padding:{rng.integers(0, 14)}px; max-width:460px"
        else:
            pad = 0 if "bar" in component or component == "tabs" else int(rng.integers(4, 14))
            style = f"width:{width}px; box-sizing:border-box; padding:{pad}px"
        if component:
            body = getattr(self, component.replace(" ", "_"))()
        else:
            style = f"width:{width}px; height:{height}px; overflow:hidden; position:relative"
            body = self._screen(phone)
        known = {"component": component, "dark": self.look.dark, "width": max(width, 470), "height": height}
        html = f"<!doctype html><style>{self._css()}</style><body><div id=frame style='{style}'>{body}</div></body>"
        return html, known

    def _css(self) -> str:
        look, rng = self.look, self.rng
        shadow = "box-shadow:0 1px 4px #0006;" if rng.random() < 0.4 else ""
        track = _css(mix(look.back, look.ink, 0.3))
        rgb = _css(look.rgb)
        return f"""
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: {_css(look.back)}; color: {_css(look.ink)};
  font: {self.size}px {rng.choice(FAMILIES)}; }}
button {{ font: inherit; font-weight: {rng.choice([400, 500, 700])}; padding: .55em 1.1em; margin: 4px 6px 4px 0;
  border: 1px solid transparent; border-radius: {self.corner}px; {shadow} }}
button:disabled {{ opacity: .45; }}
label {{ display: block; width: fit-content; padding: .35em 0; }}
input[type=checkbox], input[type=radio] {{ accent-color: {rgb}; width: 1.2em; height: 1.2em; vertical-align: -.2em;
  margin-right: .6em; }}
input[type=range] {{ accent-color: {rgb}; width: 100%; }}
input[type=text] {{ font: inherit; width: 100%; padding: .6em 8px; color: inherit; background: transparent;
  border: 1px solid {_css(look.line)}; border-radius: {min(self.corner, 8)}px; }}
::placeholder {{ color: {_css(look.faint)}; }}
small, .small {{ color: {_css(look.faint)}; font-size: .85em; }}
.switch {{ display: inline-block; position: relative; width: 2.8em; height: 1.5em; vertical-align: middle;
  margin-right: .6em; padding: 0; }}
.switch input {{ opacity: 0; position: absolute; }}
.switch i {{ position: absolute; inset: 0; border-radius: 1em; background: {track}; }}
.switch i::after {{ content: ''; position: absolute; top: .17em; left: .2em; width: 1.16em; height: 1.16em;
  border-radius: 50%; background: #fff; box-shadow: 0 1px 2px #0008; }}
.switch :checked + i {{ background: {rgb}; }}
.switch :checked + i::after {{ left: 1.45em; background: {_css(ink_on(look.rgb))}; }}
.row {{ display: flex; justify-content: space-between; align-items: center; padding: .45em 0; }}
.row .switch {{ margin: 0; }}
.tabs {{ display: flex; border-bottom: 1px solid {_css(look.line)}; }}
.tabs div {{ flex: 1; text-align: center; padding: .8em .3em; color: {_css(look.faint)}; white-space: nowrap; }}
.tabs [aria-selected=true] {{ color: {_css(look.ink)}; box-shadow: inset 0 -3px {rgb}; }}
.pills {{ border: 0; }}
.pills [aria-selected=true] {{ background: {rgb}; color: {_css(ink_on(look.rgb))}; box-shadow: none;
  border-radius: {self.corner}px; }}
.chip {{ display: inline-block; padding: .35em .9em; margin: 3px; border: 1px solid {_css(look.line)};
  border-radius: 1.2em; white-space: nowrap; }}
.chip[aria-selected=true], .tag {{ background: {rgb}; color: {_css(ink_on(look.rgb))}; border-color: transparent; }}
.tag {{ display: inline-block; padding: .3em .8em; border-radius: {self.corner}px; font-weight: 600; }}
.bar {{ display: flex; align-items: center; gap: .8em; padding: .8em 1em; font-size: 1.2em; font-weight: 600; }}
.bar b {{ flex: 1; text-align: {rng.choice(["left", "center"])}; white-space: nowrap; overflow: hidden; }}
.nav {{ display: flex; background: {_css(look.surface)}; }}
.nav div {{ flex: 1; text-align: center; padding: .6em 0; color: {_css(look.faint)}; font-size: .85em; }}
.nav .sign {{ display: block; font-size: 1.5em; width: 2.2em; margin: 0 auto .1em; border-radius: 1em; }}
.nav [aria-selected=true] {{ color: {_css(look.ink)}; font-weight: 700; }}
.nav [aria-selected=true] .sign {{ background: {rgb}; color: {_css(ink_on(look.rgb))}; }}
.item {{ display: flex; justify-content: space-between; align-items: center; padding: .7em;
  border-bottom: 1px solid {_css(mix(look.back, look.ink, 0.15))}; }}
.card {{ border: 1px solid {_css(look.line)}; border-radius: {min(self.corner, 12)}px; margin-bottom: 8px; {shadow} }}
.dialog {{ background: {_css(mix(look.back, (255, 255, 255), 0.1 if look.dark else 1))}; padding: 1.2em;
  border: 1px solid {_css(look.line)}; border-radius: {min(self.corner, 16)}px; box-shadow: 0 4px 16px #0005; }}
.end {{ text-align: right; margin-top: 1em; }}
h2 {{ font-size: 1.35em; margin: .3em 0; width: fit-content; }}
p {{ margin: .4em 0 .8em; width: fit-content; }}
section {{ margin: .7em 0; }}"""

    def _ink(self) -> str:
        return "white" if self.look.dark else "black"

    def button(self, most: int = 30) -> str:
        """One button, filled or outlined."""
        rng, look = self.rng, self.look
        name, rgb = look.accent, look.rgb
        if rng.random() < 0.3:
            other = str(rng.choice(["red", "green", "blue", "orange", "purple"]))
            shown = drawn_colour(other, rng)
            if np.linalg.norm(np.subtract(shown, look.back)) > 110:
                name, rgb = other, shown
        disabled = " disabled" if rng.random() < 0.15 else ""
        text = escape(self.words.action(most))
        if rng.random() < 0.7:
            sure = "" if disabled else " data-sure=''"
            style = f"background:{_css(rgb)}; color:{_css(ink_on(rgb))}"
            return _marked("button", "button", text, name, f"{sure} style='{style}'{disabled}")
        style = f"background:transparent; color:inherit; border-color:{_css(look.faint)}"
        return _marked("button", "button", text, self._ink(), f" data-outlined=1 style='{style}'{disabled}")

    def buttons(self) -> str:
        """Two or three buttons in a row."""
        return "".join(self.button(9) for _ in range(int(self.rng.integers(2, 4))))

    def tabs(self) -> str:
        """A row of tabs."""
        n = int(self.rng.integers(2, 5))
        chosen, pills = int(self.rng.integers(n)), self.rng.random() < 0.4
        part = "" if pills else "indicator"
        shown = [self._option("tab", self.words.topic(9), i == chosen, part, "") for i in range(n)]
        return f"<div class='tabs{' pills' if pills else ''}'>{''.join(shown)}</div>"

    def _option(self, kind: str, text: str, on: bool, part: str, sign: str) -> str:
        """A tab, chip or navigation item, selected or not."""
        colour = self.look.accent if on else self._ink()
        sure = f" data-sure='{part}'" if on else ""
        style = " class=chip" if kind == "chip" else ""
        outlined = " data-outlined=1" if kind == "chip" and not on else ""
        extra = f'{style}{outlined}{sure} aria-selected={"true" if on else "false"} data-text="{escape(text)}"'
        return _marked("div", kind, f"{sign}{escape(text)}", colour, extra)

    def chip(self) -> str:
        """One chip."""
        return self._option("chip", self.words.topic(), bool(self.rng.random() < 0.5), "", "")

    def chips(self) -> str:
        """Two to four chips."""
        return "".join(self.chip() for _ in range(int(self.rng.integers(2, 5))))

    def tag(self) -> str:
        """One tag."""
        return _marked("div", "chip", escape(self.words.topic().upper()), self.look.accent, " class=tag data-sure=''")

    def navigation_bar(self) -> str:
        """Icons over words."""
        n = int(self.rng.integers(2, 6))
        chosen = int(self.rng.integers(n))
        shown = []
        for i in range(n):
            sign = f"<span class=sign>{self.rng.choice(list(SIGNS))}</span>"
            shown.append(self._option("navigation item", self.words.topic(8), i == chosen, "", sign))
        return f"<div class=nav>{''.join(shown)}</div>"

    def top_app_bar(self) -> str:
        """A title between icons."""
        look, title = self.look, escape(self.words.title())
        coloured = self.rng.random() < 0.4
        back = look.rgb if coloured else look.surface
        colour = look.accent if coloured else "black" if look.dark else "white"
        left = "<span class=sign>☰</span>" if self.rng.random() < 0.6 else ""
        right = "<span class=sign>⋮</span>" if self.rng.random() < 0.6 else ""
        extra = f" class=bar style='background:{_css(back)}; color:{_css(ink_on(back))}' data-text=\"{title}\""
        extra += " data-sure=''" if coloured else ""
        return _marked("div", "app bar", f"{left}<b>{title}</b>{right}", colour, extra)

    def _ticked(self, kind: str, text: str, on: bool, name: str = "") -> str:
        """A checkbox or radio button with its words."""
        sort = "radio" if kind == "radio button" else "checkbox"
        colour = self.look.accent if on else "gray"
        state = (" checked" if on else "") + (" disabled" if not name and self.rng.random() < 0.08 else "")
        sure = " data-sure=''" if on and "disabled" not in state else ""
        inside = f"<input type={sort} name='{name}'{state}>{escape(text)}"
        return _marked("label", kind, inside, colour, sure)

    def checkbox(self) -> str:
        """A checkbox."""
        return self._ticked("checkbox", self.words.setting(), bool(self.rng.random() < 0.5))

    def radio_buttons(self) -> str:
        """Two to four choices."""
        n = int(self.rng.integers(2, 5))
        chosen = int(self.rng.integers(n))
        return "".join(self._ticked("radio button", self.words.choice(), i == chosen, "r") for i in range(n))

    def switch(self) -> str:
        """A switch at the end of a row or before its words."""
        text, on = escape(self.words.setting()), bool(self.rng.random() < 0.5)
        colour = self.look.accent if on else "gray"
        extra = f' class=switch data-text="{text}"' + (" data-sure=''" if on else "")
        inside = f"<input type=checkbox{' checked' if on else ''}><i></i>"
        if self.rng.random() < 0.6:
            return f"<div class=row><span>{text}</span>{_marked('span', 'switch', inside, colour, extra)}</div>"
        inside = f"<span class=switch>{inside}</span>{text}"
        return _marked("label", "switch", inside, colour, " data-sure=''" if on else "")

    def slider(self) -> str:
        """A slider under its words."""
        text = escape(self.words.level())
        shown = f"<input type=range value={self.rng.integers(10, 95)}>"
        extra = f" data-text=\"{text}\" data-sure=''"
        return f"{text}{_marked('div', 'slider', shown, self.look.accent, extra)}"

    def text_field(self) -> str:
        """A text field under its label."""
        label, hint, value = self.words.field()
        given = value if self.rng.random() < 0.55 else ""
        shown = f'<input type=text placeholder="{escape(hint)}" value="{escape(given)}">'
        extra = f' data-text="{escape(label)}" data-label="{escape(label)}" data-outlined=1'
        return f"<div class=small>{escape(label)}</div>{_marked('div', 'text field', shown, self._ink(), extra)}"

    def list(self) -> str:
        """One to four list items."""
        card = " card" if self.rng.random() < 0.4 else ""
        trail = self.rng.choice(["+", "›", "♥", ""])
        more = self.rng.random() < 0.4
        shown = []
        for _ in range(int(self.rng.integers(1, 5))):
            text = escape(self.words.topic())
            small = f"<br><small>{escape(self.words.sentence())}</small>" if more else ""
            inside = f"<span>{text}{small}</span><span class=sign>{trail}</span>"
            extra = f" class='item{card}' data-text=\"{text}\""
            shown.append(_marked("div", "list item", inside, "black" if self.look.dark else "white", extra))
        return "".join(shown)

    def dialog(self) -> str:
        """A question and its buttons."""
        title = escape(self.words.question())
        said = f"<p class=small>{escape(self.words.sentence())}</p>" if self.rng.random() < 0.7 else ""
        buttons = "".join(self.button(9) for _ in range(int(self.rng.integers(1, 3))))
        inside = f"<b>{title}</b>{said}<div class=end>{buttons}</div>"
        colour = "black" if self.look.dark else "white"
        return _marked("div", "dialog", inside, colour, f' class=dialog data-text="{title}"')

    def _heading(self) -> str:
        text = escape(self.words.question())
        return _marked("h2", "text", text, self._ink(), " data-heading=1") + _marked(
            "p", "text", escape(self.words.sentence()), "gray", " class=small"
        )

    def _screen(self, phone: bool) -> str:
        """A whole screen: bars, and sections in one or two columns."""
        rng = self.rng
        if rng.random() < 0.15:
            dim = _css(mix(self.look.back, (0, 0, 0), 0.4))
            place = f"width:{80 if phone else 55}%; margin:{rng.integers(15, 35)}% auto 0"
            over = f"<div style='{place}'>{self.dialog()}</div>"
            return f"<div style='background:{dim}; height:100%; overflow:hidden'>{over}</div>"
        top = (self.top_app_bar() if rng.random() < 0.7 else "") + (self.tabs() if rng.random() < 0.3 else "")
        nav = self.navigation_bar() if phone and rng.random() < 0.4 else ""
        columns = 1 if phone or rng.random() < 0.4 else 2
        heading = self._heading() if rng.random() < 0.45 else ""
        shown = "".join(f"<div style='flex:1; min-width:0'>{self._column()}</div>" for _ in range(columns))
        foot = f"<div style='position:absolute; bottom:0; left:0; right:0'>{nav}</div>" if nav else ""
        return f"{top}<div style='padding:1em'>{heading}<div style='display:flex; gap:2em'>{shown}</div></div>{foot}"

    def _column(self) -> str:
        rng = self.rng
        sections = {
            "list": 1, "text_field": 3, "checkbox": 4, "radio_buttons": 1, "switch": 4, "chips": 1, "slider": 1,
        }  # fmt: skip
        names = [str(n) for n in rng.choice(list(sections), int(rng.integers(1, 3)), replace=False)]
        shown = []
        for name in names:
            many = int(rng.integers(1, sections[name] + 1))
            shown.append(f"<section>{''.join(getattr(self, name)() for _ in range(many))}</section>")
        if rng.random() < 0.7:
            shown.append(f"<section>{''.join(self.button(12) for _ in range(int(rng.integers(1, 3))))}</section>")
        return "".join(shown)


def _css(rgb: RGB) -> str:
    return f"rgb{rgb}"


def _marked(tag: str, kind: str, inside: str, colour: str, extra: str) -> str:
    """An element that is a thing."""
    return f"<{tag} data-kind='{kind}' data-colour={colour}{extra}>{inside}</{tag}>"


def truth(told: dict[str, Any], known: dict[str, Any]) -> dict[str, Any] | None:
    """What is kept of a page: its things and printed lines, in pixels of the picture; None if it hides any of them."""
    x0, y0, x1, y1 = told["frame"]

    def inside(box: list[float]) -> bool:
        return box[0] >= x0 - 2 and box[1] >= y0 - 2 and box[2] <= x1 + 2 and box[3] <= y1 + 2

    things = [
        thing | {"box": [thing["box"][i] - (x0, y0)[i % 2] for i in range(4)]}
        for thing in told["things"]
        if inside(thing["box"])
    ]
    words = [(a - x0, b - y0, c - x0, d - y0, word) for a, b, c, d, word in told["words"] if inside([a, b, c, d])]
    whole = len(things) == len(told["things"]) and len(words) == len(told["words"])
    whole = whole and not any(_collide(a["box"], b["box"]) for i, a in enumerate(things) for b in things[:i])
    kept = {"component": known["component"], "dark": known["dark"], "things": things, "words": words}
    return kept if whole else None


def _collide(a: list[float], b: list[float]) -> bool:
    """Whether two boxes overlap and neither lies in the other."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    least = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return across > 1 and down > 1 and across * down < 0.98 * least


def render(folder: Path, count: int, seed: int) -> Iterator[Path]:
    """Write ``count`` pictures with their truth into ``folder``, which needs Playwright and Chromium."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        page = browser.new_page()
        number = 0
        while count:
            html, known = compose(np.random.default_rng([seed, number]))
            page.set_viewport_size({"width": known["width"], "height": known["height"]})
            page.set_content(html)
            told = page.evaluate(_COLLECT)
            kept = truth(told, known)
            if kept is not None:
                x0, y0, x1, y1 = told["frame"]
                path = folder / f"{seed}-{number:05}.png"
                page.screenshot(path=path, clip={"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0})
                path.with_suffix(".json").write_text(json.dumps(kept))
                count -= 1
                yield path
            number += 1
        browser.close()


def read_rendered(folder: Path) -> list[Picture]:
    """The pictures of a folder that `render` wrote, in the order of their names; none if there is no such folder."""
    return [_read(path) for path in sorted(folder.glob("*.json")) if path.with_suffix(".png").is_file()]


def _read(path: Path) -> Picture:
    kept = json.loads(path.read_text())
    image = Image.open(path.with_suffix(".png")).convert("RGB")
    things = []
    for held in kept["things"]:
        x0, y0, x1, y1 = held["box"]
        outline = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=float)
        traits = tuple(name for name in TRAITS if name in held["states"])
        things.append(Thing(held["kind"], held["colour"], outline, 1.0, traits, held["text"]))
    numbered, read = list(enumerate(kept["things"])), lines([tuple(word) for word in kept["words"]])
    facts = {
        "component": kept["component"],
        "dark": kept["dark"],
        "sure": {i: held["sure"] for i, held in numbered if held["sure"] is not None},
        "fields": {i: held["field"] for i, held in numbered if held["field"]},
        "heading": next((i for i, held in numbered if held["heading"]), None),
        "words": read,
        "texts": texts(read),
    }
    return Picture("screens", image, tuple(seen_shares(things)), facts)


def main(argv: list[str] | None = None) -> int:
    """``python -m vlm_demo.synthetic.screen_html FOLDER``."""
    parser = argparse.ArgumentParser(description="Render screens with Chromium.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    print(f"{len(list(render(args.folder, args.count, args.seed)))} pictures in {args.folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
