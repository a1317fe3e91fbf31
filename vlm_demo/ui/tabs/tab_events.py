"""Tab events: what the tabs beside Chat share: their components, what a page has laid out in each, and the two kinds of
events that they set off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import gradio as gr

from vlm_demo.engines.registry import ModelRegistry, is_operator
from vlm_demo.ui.session import Follower, Session
from vlm_demo.ui.tabs.chat.chat_events import Events

Own = TypeVar("Own", bound=Follower)
Shown = TypeVar("Shown", bound="TabParts")


@dataclass(eq=False)
class TabParts:
    """The components of a tab that events change, as the fields of a dataclass."""

    def all(self) -> list[Any]:
        """Every component."""
        return list(vars(self).values())


class TabEvents(Generic[Shown, Own]):
    """The handlers of one tab, for all visitors.

    Args:
        parts: its components.
        desk: makes what a page has laid out there before anything was.
    """

    def __init__(self, events: Events, service: ModelRegistry, parts: Shown, desk: Callable[[], Own]) -> None:
        self.sessions, self.service, self.parts = events.sessions, service, parts
        self.ocr_settings = events.ocr_settings
        self._fresh = desk

    def desk(self, session: Session) -> Own:
        """What a page has laid out; a fresh one at first."""
        with session.lock:
            return session.tabs.setdefault(type(self).__name__, self._fresh())  # type: ignore[return-value]

    def operator(self, request: gr.Request) -> bool:
        """Whether whoever asks may load other models."""
        host = request.client.host if request.client else None
        return is_operator(host, request.headers, self.service.operator_token)


def at_once(parts: TabParts) -> dict[str, Any]:
    """How an event is set off that computes nothing: unqueued, so that it is heard while something is computed."""
    private = {"api_visibility": "private", "api_name": "page"}
    return {"queue": False, "show_progress": "hidden", "outputs": parts.all(), **private}


def queued(parts: TabParts, line: str, places: int) -> dict[str, Any]:
    """How an event is set off that computes: in a ``line`` of its own, with so many ``places`` at a time."""
    return {**at_once(parts), "queue": True, "concurrency_id": line, "concurrency_limit": places}
