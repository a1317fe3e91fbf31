"""Theme: the page's colours and fonts, as options of ``launch()``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from vlm_demo.ui.components.templates import render

STATIC = Path(__file__).parent / "static"
STYLES = ("chat.css", "page.css", "checks.css", "compare.css", "contrast.css", "faq.css", "learn.css", "mask.css")
SCRIPTS = (
    "page.js",
    "composer.js",
    "tabs.js",
    "player.js",
    "folds.js",
    "drop.js",
    "frames.js",
    "contrast.js",
    "learn.js",
    "mask.js",
)
SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "Helvetica Neue", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]
# name: (light, dark)
COLOURS = {
    "page": ("#faf9f7", "#171614"),
    "panel": ("#ffffff", "#201f1d"),
    "bubble": ("#f3f0ea", "#2b2a27"),
    "line": ("#e3e0da", "#3a3834"),
    "text": ("#1d1c1a", "#eeece7"),
    "muted": ("#6a665f", "#a19d95"),
    "off": ("#8f8a82", "#827d75"),
    "accent": ("#b5452c", "#f08b6d"),
    "on-accent": ("#ffffff", "#1d1c1a"),
    "tint": ("#f7e7e2", "#43302a"),
    "problem": ("#9c2f1a", "#f4a48c"),
    "ocr": ("#2f6f8f", "#7cc0e0"),
    "question": ("#3f7a3a", "#8fcf88"),
    "rule": ("#8a5a00", "#e0b060"),
}
# Gradio's theme variables, and the colour of each.
GRADIO = {
    "body_background_fill": "page",
    "body_text_color": "text",
    "body_text_color_subdued": "muted",
    "background_fill_primary": "page",
    "background_fill_secondary": "page",
    "border_color_primary": "line",
    "border_color_accent": "accent",
    "color_accent_soft": "tint",
    "block_background_fill": "panel",
    "panel_background_fill": "page",
    "block_border_color": "line",
    "input_background_fill": "panel",
    "input_border_color": "line",
    "input_placeholder_color": "muted",
    "button_primary_background_fill": "accent",
    "button_primary_text_color": "on-accent",
    "button_secondary_background_fill": "bubble",
    "button_secondary_text_color": "text",
    "checkbox_label_text_color": "text",
    "link_text_color": "accent",
}


def launch_options() -> dict[str, Any]:
    """Keyword arguments for ``Blocks.launch``: nothing in them is fetched from elsewhere.

    The style sheet goes into the head, for ``css`` would have each rule rewritten with a prefix, and rules inside
    ``@media`` only in the rewritten form.
    """
    style = variables() + "".join((STATIC / name).read_text(encoding="utf-8") for name in STYLES)
    script = "".join((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return {
        "theme": _theme(),
        "head": str(render("head", style=Markup(style), script=Markup(script))),
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
    }


def variables(dark_where: str = "") -> str:
    """The colours as CSS variables, ``--vlm-page`` and so on; the dark ones below ``.dark``, or where a rule such as
    ``@media (prefers-color-scheme: dark)`` applies."""
    light, dark = ("".join(f"--vlm-{name}: {pair[i]};" for name, pair in COLOURS.items()) for i in (0, 1))
    return f":root {{{light}}} " + (f"{dark_where} {{ :root {{{dark}}} }}" if dark_where else f".dark {{{dark}}}")


def _theme() -> gr.themes.Base:
    """Gradio's components, and its sign-in page, in the same colours."""
    light = {part: COLOURS[name][0] for part, name in GRADIO.items()}
    dark = {f"{part}_dark": COLOURS[name][1] for part, name in GRADIO.items()}
    plain = {"block_shadow": "none", "block_shadow_dark": "none", "input_border_width": "1px"}
    theme = gr.themes.Base(font=SANS, font_mono=MONO, text_size="md", radius_size="md", spacing_size="sm")
    return theme.set(**light, **dark, **plain, color_accent=COLOURS["accent"][0])
