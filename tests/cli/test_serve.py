"""The commands around many replicas, as far as they go without Ray."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from vlm_demo.bench.plan import ServiceFigures, as_json
from vlm_demo.cli import bench_service
from vlm_demo.cli.main import main


def test_without_ray_one_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["serve", "--replicas", "2"]) == 2
    assert 'pip install "ray[serve]' in capsys.readouterr().err


def test_a_plan_is_printed_from_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "serving.json"
    measured = ServiceFigures(1.0, 2.0, 0.7, 0.01, 2e5, 4e6, 4e8, 30.0, 1.5, 0.5, 0.25, 3)
    path.write_text(json.dumps({"measured": as_json(measured)}))
    assert main(["bench", "--plan", str(path), "--replicas", "10", "--busy", "0.5"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("10 replicas, 50% of their time used: 3.33 questions a second.")
    assert main(["bench", "--plan", str(tmp_path / "none.json")]) == 2


@pytest.mark.parametrize(("flag", "called"), [("--load", "load"), ("--faults", "faults"), ("--serving", "serving")])
def test_a_flag_chooses_what_is_measured(monkeypatch: pytest.MonkeyPatch, flag: str, called: str) -> None:
    calls: list[str] = []
    for name in ("load", "faults", "serving", "plan"):
        monkeypatch.setattr(bench_service, name, lambda *_, name=name: calls.append(name))
    assert main(["bench", flag]) == 0 and calls == [called]
