"""`python -m vlm_demo experiment`: a question of the field's FAQ → figures, a plot, and one sentence."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vlm_demo.cli import options
from vlm_demo.cli.command import Command, application
from vlm_demo.errors import VlmDemoError
from vlm_demo.trust import Trust

NO_PLOT = "The plot can't be written to {}: name a PNG or SVG in a folder that is there."

app = application()


class Name(StrEnum):
    """What is asked: why is it confident but wrong; can it replace OCR."""

    WRONG = "wrong"
    OCR = "ocr"


@app.command(cls=Command)
def experiment(
    context: typer.Context,
    name: Annotated[Name, typer.Argument(help="wrong: why confident but wrong? ocr: can it replace OCR?")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="for wrong: the questions, with known answers")
    ] = None,
    model: options.Model = "llava",
    quantize: options.Quantize = "none",
    device: options.Device = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="N items evenly over the kinds, always the same")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="where the plot goes; default: NAME.png")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the table")] = False,
) -> None:
    """Measure on a model what everybody asks: figures, a plot, and one sentence."""
    file = plot or Path(f"{name.value}.png")
    if not file.parent.is_dir():  # before minutes of measuring
        raise VlmDemoError(NO_PLOT.format(file))
    if name is Name.WRONG and folder is None:
        context.fail("wrong needs a folder of questions")
    if name is Name.OCR:
        options.require_ocr()
    wanted = options.ModelOptions(model, quantize, device, Trust(trust_remote_code, allow_pickle))
    outcome: confidently_wrong.Outcome | instead_of_ocr.Outcome
    if name is Name.WRONG:
        from vlm_demo.evaluation import items
        from vlm_demo.evaluation.experiments import confidently_wrong

        assert folder is not None
        found, _skipped = items.read(folder)
        outcome = confidently_wrong.measure(options.load(wanted), folder, items.select(found, limit))
    else:
        from vlm_demo.evaluation.experiments import instead_of_ocr

        outcome = instead_of_ocr.measure(options.load(wanted), tell=lambda said: print(said, file=sys.stderr))
    print(json.dumps(outcome.as_dict(), ensure_ascii=False) if as_json else outcome.table())
    try:
        outcome.draw(file)
    except (OSError, ValueError) as error:
        raise VlmDemoError(NO_PLOT.format(file)) from error
