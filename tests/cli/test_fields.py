"""Fields of a document by a schema: what is asked, and what becomes of the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from vlm_demo.cli import fields, options
from vlm_demo.cli.main import main
from vlm_demo.contracts.engine import Event, Request, answered
from vlm_demo.engines import local
from vlm_demo.errors import VlmDemoError

SCHEMA = {
    "type": "object",
    "required": ["total", "company"],
    "properties": {
        "total": {"type": "number"},
        "company": {"type": "string", "title": "name of the shop"},
        "paid": {"type": ["boolean", "null"], "description": "Was it paid in cash?"},
        "currency": {"enum": ["EUR", "USD", None]},
        "buyer": {"type": "object", "properties": {"first_name": {}}},
    },
}
ANSWERS = {
    "What is the total?": "$1,234.50.",
    "What is the name of the shop?": " Corner Shop ",
    "Was it paid in cash?": "No, by card.",
    "What is the currency? Choose one of: EUR, USD.": "eur",
    "What is the buyer first name?": "Unknown.",
}


def test_each_field_is_one_question_and_has_its_type() -> None:
    found = fields.filled(SCHEMA, ANSWERS.__getitem__)
    assert found == {
        "total": 1234.5,
        "company": "Corner Shop",
        "paid": False,
        "currency": "EUR",
        "buyer": {"first_name": None},
    }
    assert fields.required(SCHEMA, found) == []
    assert fields.required(SCHEMA, found | {"total": None}) == ["total"]


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("5.30", 5.3),
        ("5,30 EUR", 5.3),
        ("1,234", 1234),
        ("1.234,50", 1234.5),
        ("1 234.50", 1234.5),
        ("1.234.567", 1234567),
        ("12'000", 12000),
        ("-3", -3),
        ("it is 7 pieces", 7),
        ("none of them", None),
    ],
)
def test_numbers_as_people_print_them(said: str, number: float | None) -> None:
    assert fields.as_number(said) == number


@pytest.mark.parametrize(
    ("schema", "said", "value"),
    [
        ({"type": "integer"}, "3 apples", 3),
        ({"type": "integer"}, "3.5", None),
        ({"type": "number"}, "no idea", None),
        ({"type": "boolean"}, "perhaps", None),
        ({"enum": ["a", "b"]}, "c", None),
        ({"type": "string"}, "unknown", None),
        ({"type": "string"}, " ", None),
    ],
)
def test_what_does_not_fit_is_null(schema: dict, said: str, value: Any) -> None:
    assert fields.value(schema, said) == value


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", '{"properties": {}}', '{"properties": {"a": {"type": "array"}}}', '{"type": "string"}',
     '{"properties": {"a": 3}}', '{"properties": {"a": {"type": "object"}}}', '{"properties": {"a": {"type": {}}}}'],
)  # fmt: skip
def test_a_schema_that_can_t_be_used_is_refused_in_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(text)
    for path in (tmp_path / "s.json", tmp_path / "missing.json"):
        with pytest.raises(VlmDemoError) as caught:
            fields.read_schema(path)
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    asked: list[Request] = []

    class Scripted(FakeEngine):
        def stream(self, request: Request) -> Iterator[Event]:
            asked.append(request)
            said = "" if "shop" in request.question else ANSWERS[request.question]
            yield replace(answered(super().stream(request)), text=said)

    monkeypatch.setattr(local, "load", lambda *_: Scripted())
    monkeypatch.setattr(options, "require_ocr", lambda: None)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    assert main(["fields", str(tmp_path / "a.png"), str(tmp_path / "s.json")]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["total"] == 1234.5 and json.loads(told.out)["company"] is None
    assert told.err == "Not found: company.\n"
    assert {request.images for request in asked} == {(str(tmp_path / "a.png"),)}
    assert all(request.ocr and request.evidence_only for request in asked)
