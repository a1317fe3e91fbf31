"""Calls of Gradio's endpoints whose callers have gone."""

from __future__ import annotations

import threading
from contextvars import copy_context
from types import SimpleNamespace

import httpx2
import pytest
from gradio.context import LocalContext

from tests.kit.fake_engine import FakeEngine
from tests.kit.served_page import served_page
from tests.kit.waiting import LONG
from vlm_demo.api import gradio_calls
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import Stopped


def test_a_call_is_abandoned_when_its_event_has_gone_or_its_client_has() -> None:
    event = SimpleNamespace(alive=True)
    events = {"one": event, "other": SimpleNamespace(alive=False)}
    page = SimpleNamespace(_queue=SimpleNamespace(event_ids_to_events=events))

    def called(event_id: str | None) -> object:
        LocalContext.event_id.set(event_id)
        return gradio_calls.abandoned(page)

    here, past_the_queue = (copy_context().run(called, event_id) for event_id in ("one", None))
    assert not here() and not past_the_queue()
    event.alive = False
    assert here()
    event.alive = True
    del events["one"]
    assert here() and not past_the_queue() and not gradio_calls.abandoned(page)()


class Held(FakeEngine):
    """Computes until it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.ended = threading.Event(), threading.Event()

    def _hold(self, cancelled) -> None:
        self.begun.set()
        if any(cancelled() or self.ended.wait(0.01) for _ in range(100 * LONG)):
            self.ended.set()
        raise Stopped("Stopped.")

    def stream(self, request):
        self._hold(request.cancelled)
        yield

    def explain(self, request, text):
        self._hold(request.cancelled)

    def score(self, image, texts, *, cancelled=None, visitor=""):
        self._hold(cancelled)


@pytest.mark.parametrize("name", ["ask", "check", "explain", "fields", "score"])
def test_nothing_is_computed_for_who_has_cancelled(uri: str, name: str) -> None:
    given = {
        "ask": [uri, "What is it?", False, False, 9, 0, None, None],
        "check": [uri, "What is it?", False, False, False, 9, None],
        "explain": [uri, "What is it?", "a star", None, None, True, False, None],
        "fields": [uri, {"properties": {"a": {}}}, True, None, False],
        "score": [uri, ["a star"]],
    }
    engine = Held()
    with served_page(ModelRegistry(engine, lambda *_: engine, "llava")) as (page, url):
        client = httpx2.Client(base_url=f"{url}gradio_api", timeout=LONG, trust_env=False)
        event_id = client.post(f"/call/{name}", json={"data": given[name]}).json()["event_id"]
        assert engine.begun.wait(LONG) and not engine.ended.is_set()
        (number,) = (number for number, fn in page.fns.items() if fn.api_name == name)
        client.post("/cancel", json={"session_hash": event_id, "fn_index": number, "event_id": event_id})
        assert engine.ended.wait(LONG)
