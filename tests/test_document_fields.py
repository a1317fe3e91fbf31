"""Fields of a document by a schema: what is asked, and what becomes of the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kit.document import ANSWERS, SCHEMA
from vlm_demo import document_fields
from vlm_demo.errors import VlmDemoError


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
    assert document_fields.as_number(said) == number


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
    assert document_fields.value(schema, said) == value


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", '{"properties": {}}', '{"properties": {"a": {"type": "array"}}}', '{"type": "string"}',
     '{"properties": {"a": 3}}', '{"properties": {"a": {"type": "object"}}}', '{"properties": {"a": {"type": {}}}}'],
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
