"""`python -m vlm_demo fields`: a picture of a document and a JSON schema → the fields that the schema names, as JSON.

Each field is one question to the model; what comes back is held against the field's type, and is null where it does
not fit or the model says unknown. The decoder itself is not held to the schema.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from vlm_demo.cli import options
from vlm_demo.cli.command import Command, application
from vlm_demo.errors import VlmDemoError
from vlm_demo.trust import Trust

UNKNOWN = ("unknown", "none", "n/a", "not visible")
NUMBER = re.compile(r"[-+]?\d(?:[\d.,' ]*\d)?")
WORDS = {"yes": True, "true": True, "no": False, "false": False}
TYPES = ("string", "number", "integer", "boolean", "object")
TOKENS = 32  # of a field, at most

app = application()


@app.command(cls=Command)
def fields(
    context: typer.Context,
    given: Annotated[
        list[str], typer.Argument(metavar="IMAGE SCHEMA", help="a picture, and a file with a JSON schema")
    ],
    model: options.Model = "llava",
    quantize: options.Quantize = "none",
    device: options.Device = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    no_ocr: Annotated[
        bool, typer.Option("--no-ocr", help="don't give the model the text that Tesseract reads")
    ] = False,
    page: options.PageNumber = None,
) -> int:
    """Read the fields of a receipt or a form: one JSON object on the output, null where a field was not found.

    The exit code is 1 where a required field was not found.
    """
    if len(given) != 2:
        context.fail("a picture and a schema are needed")
    image, schema = given[0], read_schema(Path(given[1]))
    if not no_ocr:
        options.require_ocr()
    from vlm_demo.contracts.engine import Request, answered

    engine = options.load(options.ModelOptions(model, quantize, device, Trust(trust_remote_code, allow_pickle)))

    def ask(question: str) -> str:
        return answered(engine.stream(Request(options.paged([image], page), question, not no_ocr, True, TOKENS))).text

    found = filled(schema, ask)
    print(json.dumps(found, ensure_ascii=False))
    missing = required(schema, found)
    if missing:
        print(f"Not found: {', '.join(missing)}.", file=sys.stderr)
    return 1 if missing else 0


def read_schema(path: Path) -> dict[str, Any]:
    """The JSON schema in a file.

    Raises:
        VlmDemoError: there is none, or one that asks for more than objects, texts, numbers and yes or no.
    """
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise VlmDemoError(f"The schema {path} can't be read: check its name.") from error
    except (ValueError, RecursionError) as error:
        raise VlmDemoError(f"The schema {path} is no JSON: write an object with properties.") from error
    _check(schema, "")
    return schema


def _check(schema: Any, place: str) -> None:
    named = place or "The schema"
    if not isinstance(schema, dict):
        raise VlmDemoError(f"{named} is no JSON object: write one with a type.")
    kind = _type(schema, "object" if not place else "string")
    if kind not in TYPES or (not place and kind != "object"):
        raise VlmDemoError(f"{named} has the type {kind!r}: choose {', '.join(TYPES)}, and object for the whole.")
    if kind == "object":
        properties = schema.get("properties")
        if not isinstance(properties, dict) or not properties:
            raise VlmDemoError(f"{named} has no properties: name at least one field.")
        for name, own in properties.items():
            _check(own, f"{place}.{name}" if place else name)


def _type(schema: Mapping[str, Any], default: str = "string") -> Any:
    """The type of a field; of one that may be null too, the other."""
    kind = schema.get("type", default)
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
