"""`python -m vlm_demo explain`: pictures, a question and its answer → where the model looks for each word."""

from __future__ import annotations

from typing import Annotated

import typer

from vlm_demo.cli import options
from vlm_demo.cli.command import Command, application
from vlm_demo.cli.output import show
from vlm_demo.trust import Trust

app = application()


@app.command(cls=Command)
def explain(
    context: typer.Context,
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE [IMAGE ...] QUESTION ANSWER", help="one or more pictures, the question, the answer"
        ),
    ],
    model: options.Model = "llava",
    quantize: options.Quantize = "none",
    device: options.Device = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    allow_image_host: options.AllowImageHost = "",
    ocr: options.Ocr = False,
    ocr_language: options.OcrLanguage = "eng",
    ocr_engine: options.OcrEngine = "tesseract",
    ocr_confidence: options.OcrConfidence = 30,
    evidence_only: options.EvidenceOnly = False,
    page: options.PageNumber = None,
    heatmap: options.Heatmap = None,
    word: options.Word = None,
    as_json: options.AsJson = False,
) -> None:
    """Give the model an answer and see where it looks for each word; nothing is generated."""
    if len(given) < 3:
        context.fail("a picture, a question and an answer are needed")
    *images, question, text = given
    options.check_heatmap(heatmap)
    reading = options.ocr_settings(ocr, ocr_language, ocr_engine, ocr_confidence)
    from vlm_demo.contracts.engine import Request

    allowed = Trust(trust_remote_code, allow_pickle)
    engine = options.load(options.ModelOptions(model, quantize, device, allowed, allow_image_host))
    request = Request(options.paged(images, page), question, ocr, evidence_only, ocr_settings=reading)
    answer = engine.explain(request, text)
    show(answer, heatmap=heatmap, word=word, as_json=as_json)
