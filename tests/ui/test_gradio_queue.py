"""What Gradio's queue does while nobody asks."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.kit.fake_engine import FakeEngine
from vlm_demo import app
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.ui import layout


def test_it_is_looked_at_less_often_and_computes_no_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in app.NO_STATISTICS.items():
        monkeypatch.setenv(name, value)
    service = ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")
    blocks = layout.build(service, [])
    app.add_apis(blocks, service, app.parse(["--no-auth"]))
    queue = blocks._queue
    assert {name: getattr(queue, name) for name in app.QUEUE_PAUSES} == app.QUEUE_PAUSES
    queue.events_recorded = 10**6
    records = [{"function": "ask", "status": "success", "process_time": 1.0, "session_hash": "a"}]
    assert queue.compute_analytics_summary(records) == {"functions": {}} and queue.ANALYTICS_MAX_EVENTS == 1


def test_the_app_sets_that_before_gradio_reads_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    found: list[dict[str, str]] = []
    monkeypatch.setattr(app, "serve", lambda *_: found.append(dict(os.environ)) or 0)
    monkeypatch.setattr(app.signal, "signal", lambda *_: None)
    monkeypatch.setattr(app.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["app.py", "--no-auth"])
    assert app.main() == 0
    assert found[0].items() >= app.NO_STATISTICS.items()
