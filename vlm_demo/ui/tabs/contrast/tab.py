"""The Contrast tab: its components, and their events."""

from __future__ import annotations

from typing import Any

import gradio as gr

from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.contrast import map_panel, table_panel
from vlm_demo.ui.tabs.contrast.contrast_events import ContrastEvents
from vlm_demo.ui.tabs.contrast.contrast_table import ContrastTable
from vlm_demo.ui.tabs.contrast.contrast_work import MAP, OTHERS, TABLE

TABLE_EVENTS = ("shown", "reword", "remove", "pick", "choose")
KINDS = ["image", ".heic", ".heif", ".pdf"]


def build(events: Events, service: ModelRegistry) -> None:
    """Build the tab's components in the current context, and wire their events."""
    chat = events.parts
    handlers = ContrastEvents(events.sessions, service, {}, chat.download, chat.examples)
    new = ContrastTable(handlers.examples)
    with gr.Row(elem_id="contrast-columns"):
        with gr.Column(elem_id="contrast-left", scale=65, min_width=0):
            table = _html("contrast-table", table_panel.draw(handlers.work, new), *TABLE_EVENTS)
            upload = gr.UploadButton(
                "Add a picture", file_count="multiple", file_types=KINDS, elem_id="contrast-upload", min_width=0
            )
        with gr.Column(elem_id="contrast-right", scale=35, min_width=0):
            shown = _html("contrast-map", map_panel.draw(handlers.work, new), "export")
            others = _html("contrast-others", map_panel.others(handlers.work, new), "pick")
    handlers.parts |= {TABLE: table, MAP: shown, OTHERS: others}
    private = {"api_visibility": "private", "api_name": "contrast", "show_progress": "hidden"}
    outputs = [table, shown, others]
    at_once: dict[str, Any] = {**private, "queue": False, "outputs": outputs, "trigger_mode": "multiple"}
    changed = [
        table.shown(handlers.shown, None, **at_once),
        table.reword(handlers.reword, None, **at_once),
        table.remove(handlers.remove, None, **at_once),
        table.pick(handlers.pick, None, **at_once),
        table.choose(handlers.choose, None, **at_once),
        others.pick(handlers.pick, None, **at_once),
        upload.upload(handlers.upload, [upload], **at_once),
    ]
    for event in changed:
        event.then(
            handlers.compute, None, outputs, concurrency_id="contrast", concurrency_limit=1, trigger_mode="multiple",
            **private,
        )  # fmt: skip
    shown.export(handlers.export, None, [chat.download], queue=False, **private)


def _html(name: str, value: str, *binds: str) -> gr.HTML:
    """An HTML component of the tab, whose elements trigger the events in ``binds``; see contrast.js."""
    names = ", ".join(f"'{event}'" for event in binds)
    script = f"vlmContrast.bind(element, trigger, watch, [{names}]);"
    return gr.HTML(value, elem_id=name, apply_default_css=False, js_on_load=script, min_width=0)
