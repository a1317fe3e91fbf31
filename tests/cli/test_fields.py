"""The command that reads the fields of a document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.kit.chat_server import chat_server
from tests.kit.document import ANSWERS, SCHEMA
from tests.kit.fake_engine import FakeEngine
from vlm_demo.cli import options
from vlm_demo.cli.main import main
from vlm_demo.contracts.engine import Event, Request, answered
from vlm_demo.engines import local


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    requests: list[Request] = []

    class Scripted(FakeEngine):
        def stream(self, request: Request) -> Iterator[Event]:
            requests.append(request)
            text = "" if "shop" in request.question else ANSWERS[request.question]
            yield replace(answered(super().stream(request)), text=text)

    monkeypatch.setattr(local, "load", lambda *_: Scripted())
    monkeypatch.setattr(options, "require_ocr", lambda: None)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    assert main(["fields", str(tmp_path / "a.png"), str(tmp_path / "s.json")]) == 1
    output = capsys.readouterr()
    assert json.loads(output.out)["total"] == 1234.5 and json.loads(output.out)["company"] is None
    assert output.err == "Not found: company.\n"
    assert {request.images for request in requests} == {(str(tmp_path / "a.png"),)}
    assert all(request.ocr and request.evidence_only for request in requests)


def test_a_server_reads_them_too(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "s.json").write_text('{"properties": {"what": {"type": "string"}, "total": {"type": "number"}}}')
    words = ["fields", str(tmp_path / "a.png"), str(tmp_path / "s.json"), "--no-ocr", "--engine"]
    with chat_server() as server:
        assert main([*words, server.address]) == 0
        assert json.loads(capsys.readouterr().out) == {"what": "a red square", "total": None}
        assert main([*words, server.address, "--in-one"]) == 2
    assert capsys.readouterr().err == "first can't be held to a schema: have each field asked for by itself.\n"
