"""`python -m vlm_demo score`: a picture and texts → how well each text fits it, as a table or JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlm_demo.cli import options
from vlm_demo.cli.command import Command, application
from vlm_demo.trust import Trust

if TYPE_CHECKING:
    from vlm_demo.contracts import Scores

app = application()


@app.command(cls=Command)
def score(
    context: typer.Context,
    given: Annotated[
        list[str], typer.Argument(metavar="IMAGE TEXT [TEXT ...]", help="one picture, and then the texts")
    ],
    model: options.Model = "clip",
    quantize: options.Quantize = "none",
    device: options.Device = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    allow_image_host: options.AllowImageHost = "",
    page: options.PageNumber = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the table")] = False,
) -> None:
    """Tell how well each text fits a picture; clip and blip2 can."""
    if len(given) < 2:
        context.fail("a picture and at least one text are needed")
    image, *texts = given
    allowed = Trust(trust_remote_code, allow_pickle)
    engine = options.load(options.ModelOptions(model, quantize, device, allowed, allow_image_host))
    (picture,) = options.paged([image], page)
    scores = engine.score(picture, texts)
    if as_json:
        print(json.dumps(_as_json(scores), ensure_ascii=False))
        return
    print("probability  similarity  match  text")
    for i, text in enumerate(scores.texts):
        match = f"{scores.matches[i]:5.0%}" if scores.matches else "    –"
        print(f"{scores.probabilities[i]:11.1%}  {scores.similarities[i]:10.3f}  {match}  {text}")
    for note in scores.view.notes:
        print(note, file=sys.stderr)


def _as_json(scores: Scores) -> dict[str, Any]:
    texts = [
        {
            "text": text,
            "probability": scores.probabilities[i],
            "similarity": scores.similarities[i],
            "match": scores.matches[i] if scores.matches else None,
        }
        for i, text in enumerate(scores.texts)
    ]
    seconds = {stage.name: stage.seconds for stage in scores.stages}
    return {
        "model": scores.model,
        "temperature": scores.temperature,
        "texts": texts,
        "seconds": seconds,
        "notes": list(scores.view.notes),
    }
