"""The places of programs: who waits for one, when it is free again, and what it does not keep from others."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.api.conftest import Serve
from vlm_demo.api import access


def question(uri: str, **settings: Any) -> dict[str, Any]:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": uri}}]
    return {"model": "llava", "messages": [{"role": "user", "content": parts}], **settings}


@pytest.mark.parametrize("stream", [False, True])
def test_a_place_is_free_before_its_answer_is_there(
    serve: Serve, uri: str, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(access, "MOST_WAITING", 1)
    client = serve()
    leave = client.server.places.leave

    def slow() -> None:
        time.sleep(0.2)
        leave()

    monkeypatch.setattr(client.server.places, "leave", slow)
    for _ in range(2):
        assert client.post("/v1/chat/completions", json=question(uri, stream=stream)).status_code == 200
        assert client.server.places.taken == 0
