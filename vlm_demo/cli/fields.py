"""`python -m vlm_demo fields`: a picture of a document and a JSON schema → the fields that the schema names, as JSON;
see ``document_fields``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from vlm_demo import document_fields
from vlm_demo.cli import options
from vlm_demo.cli.command import Command, application
from vlm_demo.trust import Trust

app = application()


@app.command(cls=Command)
def fields(
    context: typer.Context,
    given: Annotated[
        list[str], typer.Argument(metavar="IMAGE SCHEMA", help="a picture, and a file with a JSON schema")
    ],
    model: options.Model = "llava",
    server: options.ServerAddress = None,
    engine_model: options.ServerModel = None,
    explain_with: options.ExplainWith = None,
    quantize: options.Quantize = "none",
    device: options.Device = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    no_ocr: Annotated[
        bool, typer.Option("--no-ocr", help="don't give the model the text that Tesseract reads")
    ] = False,
    page: options.PageNumber = None,
    in_one: Annotated[
        bool,
        typer.Option("--in-one", help="one question for all fields, its answer held to the schema; for larger models"),
    ] = False,
) -> int:
    """Read the fields of a receipt or a form: one JSON object on the output, null where a field was not found.

    The exit code is 1 where a required field was not found.
    """
    if len(given) != 2:
        context.fail("a picture and a schema are needed")
    image, schema = given[0], document_fields.read_schema(Path(given[1]))
    connection = options.server_of(context, server, engine_model, explain_with)
    if not no_ocr:
        options.require_ocr()
    from vlm_demo.contracts.engine import Request

    allowed = Trust(trust_remote_code, allow_pickle)
    engine = options.engine(options.ModelOptions(model, quantize, device, allowed, server=connection))
    request = Request(options.paged([image], page), "", ocr=not no_ocr, evidence_only=True)
    found = document_fields.read(engine, request, schema, in_one)
    print(json.dumps(found, ensure_ascii=False))
    missing = document_fields.required(schema, found)
    if missing:
        print(f"Not found: {', '.join(missing)}.", file=sys.stderr)
    return 1 if missing else 0
