"""Gradio calls: whether who called a Gradio endpoint still waits for its result."""

from __future__ import annotations

from typing import Any

from gradio.context import LocalContext

from vlm_demo.contracts.engine import Cancelled


def abandoned(page: Any) -> Cancelled:
    """What tells whether the caller has left the page's queue, to be made by the function that was called. Of a call
    past the queue that is never known."""
    event_id = LocalContext.event_id.get(None)

    def is_abandoned() -> bool:
        event = page._queue.event_ids_to_events.get(event_id)
        return event_id is not None and (event is None or not event.alive)

    return is_abandoned
