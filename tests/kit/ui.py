"""What stands in for Gradio in the tests of the page's events."""

from __future__ import annotations

from types import SimpleNamespace

from vlm_demo.ui.tabs.chat.chat_events import Events


def request(session: str = "a", host: str = "127.0.0.1:7860", client: str = "127.0.0.1", **headers: str):
    """A request as far as the handlers look at it."""
    client_of = SimpleNamespace(host=client)
    return SimpleNamespace(session_hash=session, client=client_of, headers={"host": host, **headers}, query_params={})


def event(**data: object):
    """An event's data."""
    return SimpleNamespace(**data)


def run(events: Events, asked: object) -> dict:
    """Let the answer that was just asked for be computed; returns the last state of each part."""
    state = dict(asked)
    for changes in events.answer(request()):
        state |= changes
    return state
