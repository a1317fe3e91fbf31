"""`python -m vlm_demo ask`: pictures and a question → the answer, as text, JSON or a heatmap; of a folder, a table."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from vlm_demo.cli import options, table
from vlm_demo.cli.command import Command, application
from vlm_demo.cli.output import follow, show
from vlm_demo.trust import Trust

app = application()


@app.command(cls=Command)
def ask(
    context: typer.Context,
    given: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE [IMAGE ...] QUESTION", help="one or more pictures, and at the end the question"),
    ],
    model: options.Model = "llava",
    server: options.ServerAddress = None,
    engine_model: options.ServerModel = None,
    explain_with: options.ExplainWith = None,
    quantize: options.Quantize = "none",
    device: options.Device = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    page: options.PageNumber = None,
    allow_image_host: options.AllowImageHost = "",
    ocr: options.Ocr = False,
    ocr_language: options.OcrLanguage = "eng",
    ocr_engine: options.OcrEngine = "tesseract",
    ocr_confidence: options.OcrConfidence = 30,
    evidence_only: options.EvidenceOnly = False,
    heatmap: options.Heatmap = None,
    word: options.Word = None,
    as_json: options.AsJson = False,
    max_new_tokens: options.MaxNewTokens = None,
    table_file: Annotated[
        Path | None,
        typer.Option(
            "--csv", metavar="OUT.csv", help="ask about each picture of the folder IMAGE; begun again, it goes on"
        ),
    ] = None,
) -> int:
    """Ask a question about one or several pictures."""
    if len(given) < 2:
        context.fail("a picture and a question are needed")
    *images, question = given
    connection = options.server_of(context, server, engine_model, explain_with)
    options.check_heatmap(heatmap)
    reading = options.ocr_settings(ocr, ocr_language, ocr_engine, ocr_confidence)
    pictures: list[Path] = []
    if table_file:
        if len(images) != 1 or heatmap or word or as_json:
            context.fail("--csv goes with one folder, a question and no other output")
        options.check_writable(table_file)
        pictures = table.pictures(Path(images[0]))
    from vlm_demo.contracts.engine import Request, answered

    allowed = Trust(trust_remote_code, allow_pickle)
    engine = options.engine(options.ModelOptions(model, quantize, device, allowed, allow_image_host, connection))
    request = Request((), question, ocr, evidence_only, max_new_tokens, ocr_settings=reading)
    if table_file:

        def answer(path: Path) -> str:
            return answered(engine.stream(replace(request, images=options.paged([path], page)))).text

        return 1 if table.fill(table_file, pictures, question, answer) else 0
    live = sys.stdout.isatty() and not as_json
    events = engine.stream(replace(request, images=options.paged(images, page)))
    show(follow(events, live), heatmap=heatmap, word=word, as_json=as_json, printed=live)
    return 0
