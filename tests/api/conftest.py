"""What the tests of the APIs share: a picture, and the server over an engine that needs no weights."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.kit.fake_engine import FakeEngine
from tests.kit.pictures import png
from vlm_demo.api.access import Access, Places
from vlm_demo.api.openai_server import OpenAiServer
from vlm_demo.contracts.engine import Engine
from vlm_demo.engines.registry import ModelRegistry


@pytest.fixture
def uri() -> str:
    """A small red picture."""
    return f"data:image/png;base64,{base64.b64encode(png()).decode()}"


Serve = Callable[..., TestClient]


@pytest.fixture
def serve() -> Serve:
    """Builds a client of the server; its ``server`` is behind it."""

    def build(engine: Engine | None = None, access: Access | None = None, load: object = None) -> TestClient:
        service = ModelRegistry(engine or FakeEngine(), load or (lambda *_: FakeEngine()), "llava")
        server = OpenAiServer(service, access or Access(), Places(service))
        client = TestClient(Starlette(routes=server.routes()))
        client.server = server
        return client

    return build
