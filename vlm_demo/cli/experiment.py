"""`python -m vlm_demo experiment`: a frequent question about VLMs → figures, a plot, and one sentence."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from vlm_demo.cli import options
from vlm_demo.cli.command import Command, application
from vlm_demo.errors import VlmDemoError
from vlm_demo.trust import Trust

NO_PLOT = "The plot can't be written to {}: name a PNG or SVG in a folder that is there."

app = application()


class Name(StrEnum):
    """The questions: why is it confident but wrong; can it replace OCR; is a bigger language model always better; does
    it obey text in pictures."""

    WRONG = "wrong"
    OCR = "ocr"
    BIGGER = "bigger"
    ORDERS = "orders"


@app.command(cls=Command)
def experiment(
    context: typer.Context,
    name: Annotated[
        Name,
        typer.Argument(
            help="wrong: why confident but wrong? ocr: can it replace OCR? bigger: is a bigger LLM always better? "
            "orders: does it obey text in pictures?"
        ),
    ],
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="for wrong and bigger: the questions, with known answers")
    ] = None,
    model: options.Model = "llava",
    quantize: options.Quantize = "none",
    device: options.Device = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="FOLDER ...", help="for bigger: variants of the recipe, trained alike (train --out)"),
    ] = None,
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
    if name in (Name.WRONG, Name.BIGGER) and folder is None:
        context.fail(f"{name.value} needs a folder of questions")
    if against and name is not Name.BIGGER:
        context.fail("--against goes with bigger")
    if name in (Name.OCR, Name.ORDERS):
        options.require_ocr()
    model_options = options.ModelOptions(model, quantize, device, Trust(trust_remote_code, allow_pickle))
    outcome = _measured(name, folder, model_options, [model, *(against or ())], limit)
    print(json.dumps(outcome.as_dict(), ensure_ascii=False) if as_json else outcome.table())
    try:
        outcome.draw(file)
    except (OSError, ValueError) as error:
        raise VlmDemoError(NO_PLOT.format(file)) from error


class ExperimentOutcome(Protocol):
    """The result of an experiment."""

    def table(self) -> str: ...

    def draw(self, file: Path) -> None: ...

    def as_dict(self) -> dict[str, Any]: ...


def _measured(
    name: Name, folder: Path | None, model_options: options.ModelOptions, variants: list[str], limit: int | None
) -> ExperimentOutcome:
    from vlm_demo.evaluation import items
    from vlm_demo.evaluation.experiments import bigger, confidently_wrong, instead_of_ocr, orders

    def report(text: str) -> None:
        print(text, file=sys.stderr)

    if name is Name.OCR:
        return instead_of_ocr.measure(options.load(model_options), report=report)
    if name is Name.ORDERS:
        return orders.measure(options.load(model_options), report)
    assert folder is not None
    chosen = items.select(items.read(folder)[0], limit)
    if name is Name.WRONG:
        return confidently_wrong.measure(options.load(model_options), folder, chosen)
    return bigger.measure(variants, lambda variant: options.load(replace(model_options, model=variant)), folder, chosen)
