"""An upload that a full disk has no room for, through the page's upload route."""

from __future__ import annotations

import errno

import httpx2
import pytest
from gradio import routes

from tests.kit.fake_engine import FakeEngine
from tests.kit.served_page import served_page
from vlm_demo.api.full_disk import SENTENCE
from vlm_demo.engines.registry import ModelRegistry


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 507), (errno.EACCES, 500)])
def test_an_upload_to_a_full_disk_is_one_sentence(monkeypatch: pytest.MonkeyPatch, number: int, status: int) -> None:
    async def full(*_: object, **__: object) -> None:
        raise OSError(number, "of the system")

    monkeypatch.setattr(routes, "upload_fn", full)
    with served_page(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")) as (_, url):
        response = httpx2.post(f"{url}gradio_api/upload", files={"files": ("a.png", b"x")}, trust_env=False)
    assert response.status_code == status and (response.text == SENTENCE) is (status == 507)
    assert "of the system" not in response.text
