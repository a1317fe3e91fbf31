"""Fields of a document by a schema: what is asked, and what becomes of the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image

from tests.kit.document import ANSWERS, SCHEMA
from tests.kit.fake_engine import FakeEngine
from vlm_demo import Pipeline, document_fields
from vlm_demo.contracts.engine import Event, Request, answered
from vlm_demo.engines.local import LocalEngine
from vlm_demo.errors import BadSetting, VlmDemoError


def test_each_field_is_one_question_and_has_its_type() -> None:
    found = document_fields.filled(SCHEMA, ANSWERS.__getitem__)
    assert found == {
        "total": 1234.5,
        "company": "Corner Shop",
        "paid": False,
        "currency": "EUR",
        "buyer": {"first_name": None},
    }
    assert document_fields.required(SCHEMA, found) == []
    assert document_fields.required(SCHEMA, found | {"total": None}) == ["total"]


@pytest.mark.parametrize(
    ("answer", "number"),
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
def test_numbers_as_people_print_them(answer: str, number: float | None) -> None:
    assert document_fields.as_number(answer) == number


@pytest.mark.parametrize(
    ("schema", "answer", "value"),
    [
        ({"type": "integer"}, "3 apples", 3),
        ({"type": "integer"}, "3.5", None),
        ({"type": "number"}, "no idea", None),
        ({"type": "boolean"}, "perhaps", None),
        ({"enum": ["a", "b"]}, "c", None),
        ({"type": "string"}, "unknown", None),
        ({"type": "string"}, " ", None),
        ({"pattern": "^[0-9]+/[0-9]+$"}, "12/3", "12/3"),
        ({"pattern": "^[0-9]+/[0-9]+$"}, "soon", None),
        ({"type": "string", "format": "date"}, "2018-12-25", "2018-12-25"),
        ({"type": "string", "format": "date"}, "25/12/2018", None),
        ({"type": "number", "minimum": 0}, "-3", None),
        ({"type": "string", "maxLength": 3}, "long", None),
    ],
)
def test_what_does_not_fit_is_null(schema: dict, answer: str, value: Any) -> None:
    assert document_fields.value(schema, answer) == value


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", '{"properties": {}}', '{"properties": {"a": {"type": "array"}}}', '{"type": "string"}',
     '{"properties": {"a": 3}}', '{"properties": {"a": {"type": "object"}}}', '{"properties": {"a": {"type": {}}}}',
     '{"properties": {"a": {"$ref": "#/$defs/b"}}}', '{"properties": {"a": {"pattern": "("}}}'],
)  # fmt: skip
def test_a_schema_that_can_t_be_used_is_refused_in_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(text)
    for path in (tmp_path / "s.json", tmp_path / "missing.json"):
        with pytest.raises(VlmDemoError) as caught:
            document_fields.read_schema(path)
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_a_schema_that_asks_for_too_much_is_refused() -> None:
    many = {"properties": {f"field {n}": {} for n in range(document_fields.MOST + 1)}}
    with pytest.raises(VlmDemoError, match="more than 64 fields"):
        document_fields.checked(many)
    deep: dict[str, Any] = {"properties": {"a": {}}}
    for _ in range(document_fields.DEEPEST + 1):
        deep = {"type": "object", "properties": {"a": deep}}
    with pytest.raises(VlmDemoError, match="fewer objects"):
        document_fields.checked(deep)


class _Held(FakeEngine):
    """Answers ``text`` to a question that is held to a schema, and to others what the test's document holds."""

    def __init__(self, text: str, holds_json: bool = True) -> None:
        super().__init__()
        self.capabilities = replace(self.capabilities, holds_json=holds_json)
        self.text = text

    def stream(self, request: Request) -> Iterator[Event]:
        answer = answered(super().stream(request))
        yield replace(answer, text=self.text if request.sampling.schema else ANSWERS[request.question])


DOCUMENT = Request((Image.new("RGB", (9, 9)),), "", ocr=True)
IN_ONE = {"total": 3.5, "company": "unknown", "paid": None, "currency": "USD", "buyer": {"first_name": "Ann"}}


def test_one_question_for_all_is_held_to_the_schema_with_null_for_what_is_unknown() -> None:
    engine = _Held(json.dumps(IN_ONE))
    found = document_fields.read(engine, DOCUMENT, SCHEMA, in_one=True)
    assert found == IN_ONE | {"company": None}
    (asked,) = engine.requests
    assert asked["question"] == (
        "What are the total, name of the shop, paid, currency and the buyer first name? Answer in JSON."
    )
    held = json.loads(asked["sampling"].schema)
    for fields in (IN_ONE, found):
        jsonschema.validate(fields, held)
        jsonschema.validate(fields, document_fields.nullable(SCHEMA))
    for broken in (IN_ONE | {"total": "3.5"}, IN_ONE | {"currency": "GBP"}, IN_ONE | {"company": "x" * 129}, {}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, held)


def test_a_field_that_names_no_type_is_held_to_a_text() -> None:
    engine = _Held('{"day": null, "what": null}')
    document_fields.read(engine, DOCUMENT, {"properties": {"day": {"pattern": "^[0-9]+$"}, "what": {}}}, in_one=True)
    held = json.loads(engine.requests[0]["sampling"].schema)
    jsonschema.validate({"day": "12", "what": "a ship"}, held)
    for broken in ({"day": 12, "what": "a ship"}, {"day": "12", "what": {}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, held)


def test_an_answer_that_does_not_come_to_its_end_costs_no_field() -> None:
    found = document_fields.read(_Held('{"total": 3.5, "comp'), DOCUMENT, SCHEMA, in_one=True)
    assert found == document_fields.read(_Held(""), DOCUMENT, SCHEMA)
    assert found["total"] == 1234.5


def test_an_engine_that_can_t_be_held_says_so() -> None:
    with pytest.raises(BadSetting, match="can't be held to a schema"):
        document_fields.read(_Held("{}", holds_json=False), DOCUMENT, SCHEMA, in_one=True)


def test_whatever_a_model_says_fits_the_schema(pipe: Pipeline) -> None:
    """Random weights write anything; an independent validator checks the result."""
    schema = document_fields.checked(SCHEMA | {"properties": SCHEMA["properties"] | {"day": {"format": "date"}}})
    for in_one in (False, True):
        found = document_fields.read(LocalEngine(pipe), replace(DOCUMENT, ocr=False), schema, in_one)
        jsonschema.validate(found, document_fields.nullable(schema))
