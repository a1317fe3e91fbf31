"""Document fields: a JSON schema → one question a field, and answers → values that fit the schema.

Each field is one question to the model; what comes back is held against the field's type, and is null where it does
not fit or the model says unknown. The decoder itself is not held to the schema: so it can say unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vlm_demo.errors import BadSetting

UNKNOWN = ("unknown", "none", "n/a", "not visible")
NUMBER = re.compile(r"[-+]?\d(?:[\d.,' ]*\d)?")
WORDS = {"yes": True, "true": True, "no": False, "false": False}
TYPES = ("string", "number", "integer", "boolean", "object")
TOKENS = 32  # of a field, at most
MOST = 64  # fields of a schema; each is an answer
DEEPEST = 8  # objects within objects


def read_schema(path: Path) -> dict[str, Any]:
    """The JSON schema in a file.

    Raises:
        BadSetting: there is none, or as `checked` does.
    """
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSetting(f"The schema {path} can't be read: check its name.") from error
    except (ValueError, RecursionError) as error:
        raise BadSetting(f"The schema {path} is no JSON: write an object with properties.") from error
    return checked(schema)


def checked(schema: Any) -> dict[str, Any]:
    """A schema that can be used.

    Raises:
        BadSetting: it asks for more than objects, texts, numbers and yes or no, or for too many fields.
    """
    if _checked(schema, "", 0) > MOST:
        raise BadSetting(f"The schema names more than {MOST} fields: ask for fewer at a time.")
    return dict(schema)


def _checked(schema: Any, place: str, depth: int) -> int:
    """How many fields a part of a schema has."""
    named = place[:100] or "The schema"
    if not isinstance(schema, dict):
        raise BadSetting(f"{named} is no JSON object: write one with a type.")
    kind = _type(schema) if place else schema.get("type", "object")
    if kind not in TYPES or (not place and kind != "object"):
        raise BadSetting(
            f"{named} has the type {str(kind)[:40]!r}: choose {', '.join(TYPES)}, and object for the whole."
        )
    if kind != "object":
        return 1
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        raise BadSetting(f"{named} has no properties: name at least one field.")
    if depth > DEEPEST:
        raise BadSetting(f"{named} lies in more than {DEEPEST} objects: lay fewer objects into each other.")
    inside = ((f"{place}.{name}" if place else name, own) for name, own in properties.items())
    return sum(_checked(own, name, depth + 1) for name, own in inside)


def _type(schema: Mapping[str, Any]) -> Any:
    """The type of a field; of one that may be null too, the other. What has properties is an object, all else that
    names no type a text."""
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        others = [one for one in kind if one != "null"]
        return others[0] if len(others) == 1 else kind
    return kind


def filled(schema: Mapping[str, Any], ask: Callable[[str], str], about: str = "") -> dict[str, Any]:
    """The object that a schema describes, each field asked for; ``about`` is what the object is called."""
    found: dict[str, Any] = {}
    for name, own in schema["properties"].items():
        label = str(own.get("title") or re.sub(r"[_-]+", " ", name))
        if _type(own) == "object":
            found[name] = filled(own, ask, label)
        else:
            found[name] = value(own, ask(question(own, f"{about} {label}".strip())))
    return found


def question(schema: Mapping[str, Any], label: str) -> str:
    """What the model is asked for a field; a description that is a question is taken as it stands."""
    described = str(schema.get("description", "")).strip()
    if described.endswith("?"):
        asked = described
    elif _type(schema) == "boolean":
        asked = f"Is it true: {label}? Answer yes or no."
    else:
        asked = f"What is the {label}?" + (f" ({described})" if described else "")
    if isinstance(schema.get("enum"), list):
        asked += f" Choose one of: {', '.join(str(one) for one in schema['enum'] if one is not None)}."
    return asked


def value(schema: Mapping[str, Any], said: str) -> Any:
    """An answer as a value of the field's type; None where it says unknown, or is none."""
    text = said.strip().rstrip(".").strip()
    if not text or text.casefold() in UNKNOWN:
        return None
    kind = _type(schema)
    choices = schema.get("enum")
    if isinstance(choices, list):
        return next((one for one in choices if one is not None and str(one).casefold() == text.casefold()), None)
    if kind == "boolean":
        return WORDS.get(re.split(r"\W", text.casefold(), maxsplit=1)[0])
    if kind in ("number", "integer"):
        number = as_number(text)
        whole = number is not None and number == int(number)
        return (int(number) if whole else None) if kind == "integer" and number is not None else number
    return text


def as_number(text: str) -> float | None:
    """The first number in a text, whichever sign stands before its decimals: 1,234.50 and 1.234,50 are one."""
    match = NUMBER.search(text)
    if not match:
        return None
    digits = re.sub(r"[' ]", "", match.group())
    decimal = max(digits.rfind("."), digits.rfind(","))
    if decimal >= 0:
        sign, behind = digits[decimal], len(digits) - decimal - 1
        # 1,234 and 1.234.567 have no decimals.
        grouped = digits.count(sign) > 1 or (sign == "," and behind == 3 and "." not in digits)
        head, tail = re.sub(r"[.,]", "", digits[:decimal]), digits[decimal + 1 :]
        digits = f"{head}{tail}" if grouped else f"{head}.{tail}"
    return float(digits)


def required(schema: Mapping[str, Any], found: Mapping[str, Any], place: str = "") -> list[str]:
    """The required fields that were not found."""
    missing = []
    for name, own in schema["properties"].items():
        if _type(own) == "object":
            missing += required(own, found[name], f"{place}{name}.")
        elif found[name] is None and name in schema.get("required", ()):
            missing.append(f"{place}{name}")
    return missing
