"""Compare: the same picture and question in columns that differ in one setting, or in a custom mix. The tab's
components, and their events."""

from __future__ import annotations

import gradio as gr

from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.ui.components.bound_html import bound_html
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.compare import compare_panel, compare_start
from vlm_demo.ui.tabs.compare.compare_events import CompareEvents, CompareParts
from vlm_demo.ui.tabs.compare.compare_state import CompareState
from vlm_demo.ui.tabs.tab_events import at_once, queued

LINE = 16  # comparisons that may be queued at a time
PICTURES = ["image", ".heic", ".heif", ".pdf"]


def build(events: Events, service: ModelRegistry) -> None:
    """Build the tab's components in the current column, and wire their events."""
    with gr.Column(elem_id="compare-desk", elem_classes="panel", min_width=0):
        with gr.Row(elem_id="compare-ask"):
            question = gr.Textbox(
                placeholder="Ask about the picture",
                label="Question",
                show_label=False,
                container=False,
                max_lines=3,
                elem_id="compare-question",
                min_width=0,
            )
            another = gr.UploadButton(
                "Add a picture",
                file_count="multiple",
                file_types=PICTURES,
                size="sm",
                elem_id="compare-another",
                elem_classes="plain",
                scale=0,
                min_width=0,
            )
            ask = gr.Button("Ask both", variant="primary", size="sm", elem_id="compare-go", scale=0, min_width=0)
        nothing = compare_start.draw(CompareState(), (), {}, None, False)
        start = bound_html("compare-start", nothing, ("shown", "choose"))
    live = bound_html("compare-live", binds=("halt",))
    empty = compare_panel.draw(None, Session().map_options, events.parts.examples)
    table = bound_html("compare-table", empty, ("choose", "step", "example", "redraw"))
    parts = CompareParts(start, question, another, ask, live, table)
    handlers = CompareEvents(events, service, parts)
    pressed = at_once(parts)
    each = {**pressed, "trigger_mode": "multiple"}
    start.shown(handlers.shown, [question], **pressed)
    start.choose(handlers.choose, None, **each)
    another.upload(handlers.uploaded, [another], **each)
    for press in (ask.click, question.submit):
        press(handlers.ask, [question], **pressed).then(handlers.compare, None, **queued(parts, "compare", LINE))
    table.choose(handlers.look, None, **each)
    table.redraw(handlers.redraw, None, **each)
    table.example(handlers.example, None, **pressed)
    table.step(handlers.step, None, **each)
    live.halt(handlers.halt, None, **pressed)
