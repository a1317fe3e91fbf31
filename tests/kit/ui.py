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


def ask(events: Events, text: str, *files: object, ocr: bool = False, evidence_only: bool = False) -> dict:
    """Ask in the chat; returns what changes on the page."""
    return events.ask({"text": text, "files": [str(file) for file in files]}, ocr, evidence_only, request())


def run(events: Events, asked: object) -> dict:
    """Let the answer that was just asked for be computed; returns the last state of each part."""
    state = dict(asked)
    for changes in events.answer(request()):
        state |= changes
    return state
