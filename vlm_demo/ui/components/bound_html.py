"""Bound HTML: a piece of page that a template made, and the events that its ``data-act`` elements set off."""

from __future__ import annotations

import gradio as gr


def bound_html(name: str, value: str = "", binds: tuple[str, ...] = ()) -> gr.HTML:
    """A piece of page that begins with ``value`` and whose ``data-act`` elements set off the events in ``binds`` (see
    page.js)."""
    names = ", ".join(f"'{event}'" for event in binds)
    script = f"vlm.bind(element, trigger, watch, [{names}]);"
    return gr.HTML(value, elem_id=name, apply_default_css=False, js_on_load=script, min_width=0)
