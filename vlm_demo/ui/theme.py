"""Theme: one accent, hairlines, system fonts; and the options that carry the page's look to ``launch()``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

HERE = Path(__file__).parent
SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "Helvetica Neue", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]


def launch_options() -> dict[str, Any]:
    """Keyword arguments for ``Blocks.launch``: nothing in them is fetched from elsewhere.

    The style sheet goes into the head, for ``css`` would have each rule rewritten with a prefix, and rules inside
    ``@media`` only in the rewritten form.
    """
    return {
        "theme": _theme(),
        "head": f"<style>{(HERE / 'style.css').read_text()}</style><script>{(HERE / 'page.js').read_text()}</script>",
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
    }


def _theme() -> gr.themes.Base:
    """Gradio's own parts in the page's colours, which style.css names once for light and dark."""
    theme = gr.themes.Base(font=SANS, font_mono=MONO, text_size="md", radius_size="md", spacing_size="sm")
    both = {
        "body_background_fill": "var(--vlm-page)",
        "body_text_color": "var(--vlm-text)",
        "body_text_color_subdued": "var(--vlm-muted)",
        "background_fill_primary": "var(--vlm-panel)",
        "background_fill_secondary": "var(--vlm-page)",
        "border_color_primary": "var(--vlm-line)",
        "border_color_accent": "var(--vlm-accent)",
        "color_accent_soft": "var(--vlm-tint)",
        "block_background_fill": "var(--vlm-panel)",
        "block_border_color": "var(--vlm-line)",
        "input_background_fill": "var(--vlm-panel)",
        "input_border_color": "var(--vlm-line)",
        "input_placeholder_color": "var(--vlm-muted)",
        "button_primary_background_fill": "var(--vlm-accent)",
        "button_primary_text_color": "var(--vlm-on-accent)",
        "button_secondary_background_fill": "transparent",
        "button_secondary_text_color": "var(--vlm-muted)",
        "checkbox_label_text_color": "var(--vlm-text)",
        "link_text_color": "var(--vlm-accent)",
    }
    dark = {f"{name}_dark": value for name, value in both.items()}
    return theme.set(**both, **dark, color_accent="var(--vlm-accent)", block_shadow="none", block_shadow_dark="none")
