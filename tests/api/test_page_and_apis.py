"""The APIs for programs are served on the page's port, behind its password, and the page still works next to them."""

from __future__ import annotations

from typing import Any

import pytest
from gradio.routes import App
from starlette.testclient import TestClient

from tests.kit.fake_engine import FakeEngine
from vlm_demo import app
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.ui import layout

QUESTION: dict[str, Any] = {"model": "llava", "messages": [{"role": "user", "content": "What is it?"}]}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, uri: str) -> Any:
    """Builds a client of the whole page as `app.serve` launches it."""
    monkeypatch.delenv(app.AUTH_VARIABLE, raising=False)
    QUESTION["messages"][0]["content"] = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": uri}},
    ]

    def build(*flags: str) -> TestClient:
        service = ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")
        parsed = app.parse(list(flags))
        blocks = layout.build(service, [])
        blocks.auth = [tuple(parsed.auth.split(":", 1))] if parsed.auth else None
        blocks.auth_message = None
        return TestClient(App.create_app(blocks, app_kwargs=app.add_apis(blocks, service, parsed)))

    return build


def test_page_and_api_share_a_port(page: Any) -> None:
    client = page()
    assert client.get("/v1/models").json()["data"][0]["id"] == "llava"
    assert client.post("/v1/chat/completions", json=QUESTION).json()["choices"][0]["message"]["content"]
    assert client.get("/gradio_api/info").status_code == 200
    assert client.get("/v1/nothing").json()["error"]["message"].startswith("Nothing is served here")


def test_the_page_s_password_is_the_key(page: Any) -> None:
    client = page("--auth", "ann:se:cret")
    assert client.post("/v1/chat/completions", json=QUESTION).status_code == 401
    for key, status in (("se:cret", 200), ("ann:se:cret", 401), ("cret", 401)):
        headers = {"Authorization": f"Bearer {key}"}
        assert client.post("/v1/chat/completions", json=QUESTION, headers=headers).status_code == status
    assert client.get("/gradio_api/info").status_code == 401


def test_a_stream_is_not_packed_together(page: Any) -> None:
    response = page().post(
        "/v1/chat/completions", json=QUESTION | {"stream": True}, headers={"Accept-Encoding": "br, gzip"}
    )
    assert response.text.endswith("data: [DONE]\n\n") and "content-encoding" not in response.headers
