"""Who knows the operator's key may switch models from elsewhere; nobody else may."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.kit.fake_engine import FakeEngine
from vlm_demo import app
from vlm_demo.api import operator_key
from vlm_demo.api.operator_key import OperatorKey
from vlm_demo.engines.registry import OPERATOR_COOKIE, ModelRegistry, is_operator

KEY = "grünes-licht-für-alle"
ELSEWHERE = {"host": "someone-demo.example", "x-forwarded-for": "8.8.8.8"}


@pytest.fixture
def service() -> ModelRegistry:
    return ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")


@pytest.fixture
def client(service: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(operator_key, "PAUSE", 0.0)
    return TestClient(Starlette(routes=[OperatorKey(service, KEY).route()]), follow_redirects=False)


def may(service: ModelRegistry, cookie: str | None) -> bool:
    headers = ELSEWHERE | ({"cookie": f"other=1; {OPERATOR_COOKIE}={cookie}"} if cookie is not None else {})
    return is_operator("8.8.8.8", headers, service.operator_token)


def test_the_key_gives_a_cookie_that_may_switch(client: TestClient, service: ModelRegistry) -> None:
    assert 'type="password"' in client.get("/operator").text
    response = client.post("/operator", data={"key": KEY})
    assert response.status_code == 303 and response.headers["location"] == "./"
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and KEY not in cookie and "secure" not in cookie
    assert may(service, response.cookies[OPERATOR_COOKIE])
    behind = client.post("/operator", data={"key": KEY}, headers={"x-forwarded-proto": "https"})
    assert "secure" in behind.headers["set-cookie"].lower()


@pytest.mark.parametrize("sent", [{}, {"key": ""}, {"key": "wrong"}, {"key": KEY[:-1]}, {"key": KEY + "x" * 5000}])
def test_a_wrong_key_gives_none(client: TestClient, sent: dict[str, str]) -> None:
    refused = client.post("/operator", data=sent)
    assert refused.status_code == 403 and "set-cookie" not in refused.headers and "not the key" in refused.text


def test_nobody_else_may(client: TestClient, service: ModelRegistry) -> None:
    for cookie in (None, "", KEY, "wrong"):
        assert not may(service, cookie)
    without = ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")
    assert not may(without, "") and not may(without, "None")


def test_the_key_comes_from_the_environment_and_is_long(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv(app.OPERATOR_VARIABLE, raising=False)
    assert app.parse([]).operator_key is None
    monkeypatch.setenv(app.OPERATOR_VARIABLE, KEY)
    assert app.parse([]).operator_key == KEY
    monkeypatch.setenv(app.OPERATOR_VARIABLE, "short")
    with pytest.raises(SystemExit):
        app.parse([])
    assert "at least 12 characters" in capsys.readouterr().err
