"""`python -m vlm_demo ask`: one or several pictures and a question → the answer, as text, JSON or a heatmap."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vlm_demo.cli import options
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
    quantize: options.Quantize = "none",
    device: options.Device = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    page: options.PageNumber = None,
    allow_image_host: options.AllowImageHost = "",
    ocr: options.Ocr = False,
    evidence_only: options.EvidenceOnly = False,
    heatmap: options.Heatmap = None,
    word: options.Word = None,
    as_json: options.AsJson = False,
    max_new_tokens: options.MaxNewTokens = None,
) -> None:
    """Ask a question about one or several pictures."""
    if len(given) < 2:
        context.fail("a picture and a question are needed")
    *images, question = given
    options.check_heatmap(heatmap)
    from vlm_demo.contracts.engine import Request

    allowed = Trust(trust_remote_code, allow_pickle)
    engine = options.load(options.ModelOptions(model, quantize, device, allowed, allow_image_host))
    request = Request(options.paged(images, page), question, ocr, evidence_only, max_new_tokens)
    live = sys.stdout.isatty() and not as_json
    show(follow(engine.stream(request), live), heatmap=heatmap, word=word, as_json=as_json, printed=live)
