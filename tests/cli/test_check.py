"""The command prints the five checks, as a table and as JSON, and names a broken request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from vlm_demo import Pipeline
from vlm_demo.cli.main import main
from vlm_demo.contracts.checks import NAMES, VERDICTS

QUESTION = "What colour is the star?"


@pytest.fixture
def arguments(checkpoint: Path, tmp_path: Path) -> list[str]:
    picture = tmp_path / "a.png"
    Image.new("RGB", (60, 60), "red").save(picture)
    return ["check", str(picture), QUESTION, "--model", str(checkpoint), "--max-new-tokens", "2"]


def test_a_table_of_five(arguments: list[str], capsys) -> None:
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert all(f"{name}: " in out for name in NAMES) and "16 placeholders = 16 features" in out
    assert "blank picture: " in out


def test_json_holds_every_value(arguments: list[str], capsys) -> None:
    assert main([*arguments, "--json", "--evidence-only"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in report["checks"]] == list(NAMES)
    assert {check["verdict"] for check in report["checks"]} <= set(VERDICTS)
    assert report["checks"][2]["values"]["evidence_only"] is True
    assert report["checks"][4]["values"]["first_token"] > 0


def test_a_broken_request_shows_its_check_and_fails(arguments: list[str], capsys, monkeypatch) -> None:
    load = Pipeline.from_pretrained

    def broken(*given, **settings):
        pipe = load(*given, **settings)
        monkeypatch.setattr(pipe.answering.family, "placeholders", lambda view: len(view.boxes) - 1)
        return pipe

    monkeypatch.setattr(Pipeline, "from_pretrained", broken)
    assert main(arguments) == 2
    out = capsys.readouterr()
    assert out.out.count("fail  Image tokens") == 1 and "1 placeholder of picture 1 is missing" in out.err
