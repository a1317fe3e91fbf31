"""Start: a model that must be put together first does not keep the page waiting."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.kit import composed
from tests.kit.fake_engine import FakeEngine
from vlm_demo import Pipeline, app
from vlm_demo.contracts import OcrSettings
from vlm_demo.engines import local
from vlm_demo.engines.scheduler import BATCH
from vlm_demo.errors import OcrUnavailable, VlmDemoError
from vlm_demo.models import embedded, loading, user_cache
from vlm_demo.ui import layout, start


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(user_cache, "folder", lambda: tmp_path / "cache" / "vlm_demo")
    monkeypatch.setattr(loading, "EMBEDDED", tmp_path / "models")
    composed.install(tmp_path / "site", monkeypatch)
    return composed.ship(tmp_path / "models" / "small")


def test_the_page_is_there_before_the_model(shipped: Path, monkeypatch) -> None:
    go, told, order = threading.Event(), [], []
    assembled = embedded.assembled
    monkeypatch.setattr(local, "prepare", lambda: order.append("imported"))

    def slowly(folder: Path, tell) -> Path:
        order.append("loading")
        go.wait(60)
        return assembled(folder, tell)

    monkeypatch.setattr(embedded, "assembled", slowly)
    assert start.announcement("small").startswith("small is put together once")
    service = start.service("small", "none", "cpu", lambda *step: told.append(step))
    assert not service.ready and service.status.busy
    go.set()
    with service.engine() as pipe:
        assert pipe.name == "small"
    assert order == ["imported", "loading"]  # not both at a time, in two threads
    assert any("Putting small together" in text for _, text in told) and told[-1] == (1.0, "small is ready")
    assert start.announcement("small") == ""
    assert start.service("small", "none", "cpu").ready


def test_a_device_that_is_not_there_is_refused_before_the_page(shipped: Path) -> None:
    with pytest.raises(VlmDemoError, match="no device abacus"):
        start.service("small", "none", "abacus")


def test_a_language_that_cannot_be_read_is_refused_before_the_model(monkeypatch) -> None:
    monkeypatch.setattr(Pipeline, "from_pretrained", None)
    with pytest.raises(OcrUnavailable, match="can't read xyz here: choose among .*eng"):
        start.service("llava", "none", None, ocr_settings=OcrSettings("xyz"))


def test_other_models_are_loaded_before_the_page(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Pipeline, "from_pretrained", classmethod(lambda *_, **__: FakeEngine()))
    assert start.service(str(tmp_path), "none", None).ready


@pytest.mark.parametrize(("batch", "limit"), [(32, 32), (1, BATCH)])
def test_as_many_questions_leave_the_queue_as_are_answered_together(
    monkeypatch, tmp_path: Path, batch: int, limit: int
) -> None:
    monkeypatch.setattr(local, "load", lambda *_, **__: FakeEngine())
    service = start.service(str(tmp_path), "none", None, batch=batch)
    page = layout.build(service, [])
    app.add_apis(page, service, app.parse(["--no-auth"]))
    functions = [fn for fn in page.fns.values() if fn.concurrency_id == "model"]
    assert {"answer", "ask", "explain"} <= {fn.name for fn in functions} | {fn.api_name for fn in functions}
    assert {fn.concurrency_limit for fn in functions} == {limit}
