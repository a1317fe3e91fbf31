"""Bound HTML: a piece of the page rendered from a template, and the events of its ``data-act`` elements."""

from __future__ import annotations

import gradio as gr


def bound_html(name: str, value: str = "", binds: tuple[str, ...] = ()) -> gr.HTML:
    """An HTML component with the initial ``value`` whose ``data-act`` elements trigger the events in ``binds`` (see
    page.js)."""
    names = ", ".join(f"'{event}'" for event in binds)
    script = f"vlm.bind(element, trigger, watch, [{names}]);"
    return gr.HTML(value, elem_id=name, apply_default_css=False, js_on_load=script, min_width=0)
