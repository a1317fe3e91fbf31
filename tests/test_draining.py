"""An app that gets a signal to end answers what it was asked, and nothing more."""

from __future__ import annotations

import base64
import signal
import threading

import httpx2
import pytest
from gradio import Blocks

from tests.kit.fake_engine import FakeEngine
from tests.kit.pictures import png
from tests.kit.served_page import served_page
from tests.kit.waiting import wait_until
from vlm_demo import app
from vlm_demo.contracts.engine import Event, Request
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.engines.scheduler import SHUTTING_DOWN, ModelUse
from vlm_demo.errors import VlmDemoError


class Waiting(FakeEngine):
    """Answers when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = threading.Event(), threading.Event()

    def stream(self, request: Request):
        events: list[Event] = list(super().stream(request))
        self.asked.set()
        assert self.go.wait(60)
        yield from events


@pytest.fixture
def uri() -> str:
    return f"data:image/png;base64,{base64.b64encode(png()).decode()}"


def test_an_answer_that_has_begun_is_sent_and_a_new_question_is_refused(
    uri: str, capsys: pytest.CaptureFixture
) -> None:
    engine = Waiting()
    service = ModelRegistry(engine, lambda *_: engine, "llava")
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": uri}}]
    body = {"model": "llava", "messages": [{"role": "user", "content": parts}], "stream": True}
    got: list[httpx2.Response] = []
    with served_page(service) as (page, url):
        client = httpx2.Client(base_url=url, timeout=60, trust_env=False)

        def ask() -> None:
            got.append(client.post("/v1/chat/completions", json=body))

        asking = threading.Thread(target=ask)
        asking.start()
        assert engine.asked.wait(60)
        ending = threading.Thread(target=app.drain, args=(page, service))
        ending.start()
        assert wait_until(lambda: service._use._closed)
        refused = client.post("/v1/chat/completions", json=body)
        assert refused.status_code == 503 and refused.json()["error"]["message"] == SHUTTING_DOWN
        engine.go.set()
        for thread in (asking, ending):
            thread.join(60)
    assert got[0].status_code == 200 and got[0].text.endswith("data: [DONE]\n\n") and "square" in got[0].text
    assert capsys.readouterr().out.splitlines()[-1] == "Ended."


def test_who_takes_too_long_is_counted_and_who_waits_for_a_switch_is_refused() -> None:
    use = ModelUse()
    release = use.reserve()
    refusals: list[VlmDemoError] = []

    def wait() -> None:
        with pytest.raises(VlmDemoError, match=SHUTTING_DOWN) as error, use.use():
            pass
        refusals.append(error.value)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert use.close(0) == 0
    waiting.join(60)
    release()
    assert refusals
    other = ModelUse()
    with other.use():
        assert other.close(0) == 1


def test_a_signal_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal's `SystemExit` comes out of the page's waiting loop; the exit status is kept."""
    drained: list[object] = []
    monkeypatch.setattr(app, "drain", lambda page, service: drained.append(page))
    monkeypatch.setattr(app, "refusal", lambda *_: None)
    monkeypatch.setattr(app, "add_apis", lambda *_: {})
    monkeypatch.setattr("vlm_demo.ui.start.service", lambda *_: None)
    page = Blocks()
    monkeypatch.setattr("vlm_demo.ui.start.page", lambda *_: page)
    monkeypatch.setattr(page, "launch", lambda **_: (None, "http://127.0.0.1", None))
    monkeypatch.setattr(page, "block_thread", lambda: app.leave())
    before = {ending: signal.getsignal(ending) for ending in app.ENDINGS}
    try:
        with pytest.raises(SystemExit) as end:
            app.serve(app.parse(["--no-auth"]), False)
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)
    assert end.value.code == 0 and drained == [page]
