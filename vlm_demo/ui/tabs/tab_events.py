"""Tab events: what the tabs besides Chat share: their components, each page's state of the tab, and two kinds of
events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import gradio as gr

from vlm_demo.engines.registry import ModelRegistry, is_operator
from vlm_demo.ui.session import Session, TabState
from vlm_demo.ui.tabs.chat.chat_events import Events

State = TypeVar("State", bound=TabState)
Shown = TypeVar("Shown", bound="TabParts")


@dataclass(eq=False)
class TabParts:
    """The components of a tab that events change, as the fields of a dataclass."""

    def all(self) -> list[Any]:
        """Every component."""
        return list(vars(self).values())


class TabEvents(Generic[Shown, State]):
    """The handlers of one tab, for all visitors.

    Args:
        parts: its components.
        new_state: creates a page's initial state of the tab.
    """

    def __init__(self, events: Events, service: ModelRegistry, parts: Shown, new_state: Callable[[], State]) -> None:
        self.sessions, self.service, self.parts = events.sessions, service, parts
        self.ocr_settings = events.ocr_settings
        self._new_state = new_state

    def state(self, session: Session) -> State:
        """A page's state of this tab; a fresh one at first."""
        with session.lock:
            return session.tabs.setdefault(type(self).__name__, self._new_state())  # type: ignore[return-value]

    def operator(self, request: gr.Request) -> bool:
        """Whether the client may load other models."""
        host = request.client.host if request.client else None
        return is_operator(host, request.headers, self.service.operator_token)


def at_once(parts: TabParts) -> dict[str, Any]:
    """Options of an event that computes nothing: unqueued, so that it is handled while something is computed."""
    private = {"api_visibility": "private", "api_name": "page"}
    return {"queue": False, "show_progress": "hidden", "outputs": parts.all(), **private}


def queued(parts: TabParts, line: str, places: int) -> dict[str, Any]:
    """Options of an event that computes: in the queue ``line``, with so many ``places`` at a time. It is sent while an
    earlier one still ends, too: Gradio would drop it, and what was left for it would wait for ever."""
    in_line = {"queue": True, "concurrency_id": line, "concurrency_limit": places, "trigger_mode": "multiple"}
    return {**at_once(parts), **in_line}
