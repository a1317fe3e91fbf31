"""Document fields: a JSON schema → questions to a model, and its answers → an object that fits the schema.

Each field may be null too: that is what is unknown. One question a field is answered in free text, of which what fits
the field is kept; or one question for all is answered in JSON, to which the decoder is held token by token. Both give
objects of `nullable`'s schema. The first is the better one with small models, which write no JSON unconstrained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_demo.errors import BadSetting

if TYPE_CHECKING:
    from vlm_demo.contracts.engine import Engine, Request

UNKNOWN = ("unknown", "none", "n/a", "not visible")
NUMBER = re.compile(r"[-+]?\d(?:[\d.,' ]*\d)?")
WORDS = {"yes": True, "true": True, "no": False, "false": False}
TYPES = ("string", "number", "integer", "boolean", "object")
TOKENS = 32  # of a field, at most
LONGEST = 128  # characters of a text in an answer for all fields, where the schema sets no limit
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
        BadSetting: it asks for more than objects, texts, numbers and yes or no, for too many fields, or for what no
            answer can be held to; says which.
    """
    if _checked(schema, "", 0) > MOST:
        raise BadSetting(f"The schema names more than {MOST} fields: ask for fewer at a time.")
    _matcher(json.dumps(nullable(schema)))
    return dict(schema)


def _checked(schema: Any, place: str, depth: int) -> int:
    """How many fields a part of a schema has."""
    named = place[:100] or "The schema"
    if not isinstance(schema, dict):
        raise BadSetting(f"{named} is no JSON object: write one with a type.")
    if "$ref" in schema:
        raise BadSetting(f"{named} is a $ref: write out what it stands for.")
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
    inside = ((f"{place}.{name}" if place else name, field) for name, field in properties.items())
    return sum(_checked(field, name, depth + 1) for name, field in inside)


def _type(schema: Mapping[str, Any]) -> Any:
    """The type of a field; of one that may be null too, the other. What has properties is an object, all else that
    names no type a text."""
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        others = [one for one in kind if one != "null"]
        return others[0] if len(others) == 1 else kind
    return kind


def nullable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of what is given back: every field is there, as it was asked for or null, and nothing else."""
    fields = {
        name: nullable(field) if _type(field) == "object" else {"anyOf": [field, {"type": "null"}]}
        for name, field in schema["properties"].items()
    }
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def read(engine: Engine, request: Request, schema: Mapping[str, Any], in_one: bool = False) -> dict[str, Any]:
    """The fields of the document that ``request`` shows; its question does not count.

    Args:
        schema: one that ``checked`` let pass.
        in_one: ask one question for all fields, whose answer is held to the schema. Where that does not come to its
            end, each field is asked for after all.
    Raises:
        BadSetting: this engine's answers can't be held to a schema.
        VlmDemoError: what `Engine.stream` raises.
    """
    from vlm_demo.contracts.engine import answered
    from vlm_demo.contracts.sampling import Sampling

    def ask(question: str, limit: int = TOKENS, held_to: str | None = None) -> str:
        field_request = replace(request, question=question, max_new_tokens=limit, sampling=Sampling(schema=held_to))
        return answered(engine.stream(field_request)).text

    if in_one:
        if not engine.capabilities.holds_json:
            raise BadSetting(f"{engine.name} can't be held to a schema: have each field asked for by itself.")
        labels = _labels(schema)
        text = ask(question_for_all(labels), len(labels) * 2 * TOKENS, json.dumps(nullable(_bounded(schema))))
        try:
            return _emptied(json.loads(text))
        except ValueError:  # cut off at the limit
            pass
    return filled(schema, ask)


def filled(schema: Mapping[str, Any], ask: Callable[[str], str], about: str = "") -> dict[str, Any]:
    """The object that a schema describes, each field asked for; ``about`` is what the object is called."""
    found: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        label = _label(name, field)
        if _type(field) == "object":
            found[name] = filled(field, ask, label)
        else:
            found[name] = value(field, ask(question(field, f"{about} {label}".strip())))
    return found


def _label(name: str, schema: Mapping[str, Any]) -> str:
    return str(schema.get("title") or re.sub(r"[_-]+", " ", name))


def _labels(schema: Mapping[str, Any], about: str = "") -> list[str]:
    """What all fields are called."""
    found: list[str] = []
    for name, field in schema["properties"].items():
        label = _label(name, field)
        found += _labels(field, label) if _type(field) == "object" else [f"{about} {label}".strip()]
    return found


def question_for_all(labels: Sequence[str]) -> str:
    """What the model is asked for all fields at once."""
    *others, last = labels
    question = f"What are the {', '.join(others)} and the {last}?" if others else f"What is the {last}?"
    return f"{question} Answer in JSON."


def _bounded(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema whose texts have an end: a small model may go on and on."""
    fields = {}
    for name, field in schema["properties"].items():
        if _type(field) == "object":
            fields[name] = _bounded(field)
        elif _type(field) == "string" and not {"enum", "const"} & set(field):
            end = {} if {"maxLength", "pattern", "format"} & set(field) else {"maxLength": LONGEST}
            fields[name] = {**field, "type": "string", **end}
        else:
            fields[name] = field
    return {**schema, "properties": fields}


def _emptied(found: dict[str, Any]) -> dict[str, Any]:
    """With null for each text that means unknown."""
    emptied: dict[str, Any] = {}
    for name, given in found.items():
        if isinstance(given, dict):
            emptied[name] = _emptied(given)
        else:
            emptied[name] = None if isinstance(given, str) and _unknown(given) else given
    return emptied


def _unknown(text: str) -> bool:
    return not text.strip() or text.strip().rstrip(".").casefold() in UNKNOWN


def fits(schema: Mapping[str, Any], given: Any) -> bool:
    """Whether a value fits a field's schema, its ``pattern``, ``minimum``, ``format`` and so on."""
    matcher = _matcher(json.dumps(schema))
    return bool(matcher.consume_tokens(list(json.dumps(given, ensure_ascii=False).encode())) and matcher.is_accepting())


@cache
def _bytes() -> Any:
    """A vocabulary whose tokens are single bytes."""
    import llguidance

    return llguidance.LLTokenizer("byte")


def _matcher(schema: str) -> Any:
    """What follows JSON byte by byte, as the decoder's grammar does.

    Raises:
        BadSetting: the schema asks for what can't be followed.
    """
    import llguidance

    grammar = llguidance.LLMatcher.grammar_from_json_schema(schema)
    matcher = llguidance.LLMatcher(_bytes(), grammar, log_level=0)
    if matcher.is_error():
        problem = " ".join(matcher.get_error().split())[:150].rstrip(".: ")
        raise BadSetting(f"Answers can't be held to this schema ({problem}): simplify it.")
    return matcher


def question(schema: Mapping[str, Any], label: str) -> str:
    """What the model is asked for a field; a description that is a question is taken as it stands."""
    described = str(schema.get("description", "")).strip()
    if described.endswith("?"):
        text = described
    elif _type(schema) == "boolean":
        text = f"Is it true: {label}? Answer yes or no."
    else:
        text = f"What is the {label}?" + (f" ({described})" if described else "")
    if isinstance(schema.get("enum"), list):
        text += f" Choose one of: {', '.join(str(one) for one in schema['enum'] if one is not None)}."
    return text


def value(schema: Mapping[str, Any], answer: str) -> Any:
    """An answer as a value of the field; None where it means unknown, or does not fit."""
    text = answer.strip().rstrip(".").strip()
    if _unknown(text):
        return None
    found = _as_type(schema, text)
    return found if found is not None and fits(schema, found) else None


def _as_type(schema: Mapping[str, Any], text: str) -> Any:
    """A text as a value of the field's type, or one of its choices; None where it is none."""
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
    for name, field in schema["properties"].items():
        if _type(field) == "object":
            missing += required(field, found[name], f"{place}{name}.")
        elif found[name] is None and name in schema.get("required", ()):
            missing.append(f"{place}{name}")
    return missing
