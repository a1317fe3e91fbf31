"""The Learn tab: its components, and their events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from vlm_demo.ui.tabs.inspect.panels.html_pieces import nothing
from vlm_demo.ui.tabs.learn import learn_panels
from vlm_demo.ui.tabs.learn.learn_events import LearnComponents, LearnEvents
from vlm_demo.ui.tabs.tab_events import at_once, queued

if TYPE_CHECKING:
    from vlm_demo.engines.registry import ModelRegistry
    from vlm_demo.ui.tabs.chat.chat_events import Events


def build(events: Events, service: ModelRegistry) -> None:
    """Build the tab's components in the current context, and wire their events."""
    stage_boxes = _html("learn-stages", ("opened", "choose"), nothing(learn_panels.EMPTY, "Chat"))
    with gr.Row(elem_id="learn-panels"):
        inside = _html("learn-lens"), _html("learn-features"), _html("learn-losses", ("compute",))
    parts = LearnComponents(stage_boxes, *inside, _html("learn-notes"))
    learn = LearnEvents(events.sessions, service, parts)
    pressed = at_once(parts)
    computing = queued(parts, "learn", 1)
    # Once: the page polls while it waits, and one place of it in the queue is enough.
    opened = parts.stage_boxes.opened(learn.open, None, **pressed)
    opened.then(learn.work, None, **{**computing, "trigger_mode": "once"})
    parts.stage_boxes.choose(learn.choose, None, **pressed)
    parts.losses.compute(learn.ask, None, **pressed).then(learn.compute, None, **computing)


def _html(name: str, binds: tuple[str, ...] = (), value: str = "") -> gr.HTML:
    """An HTML component of the tab whose ``data-act`` elements trigger the events in ``binds`` (see learn.js)."""
    names = ", ".join(f"'{event}'" for event in binds)
    script = f"vlmLearn.bind(element, trigger, watch, [{names}]);"
    return gr.HTML(value, elem_id=name, apply_default_css=False, js_on_load=script, min_width=0)
