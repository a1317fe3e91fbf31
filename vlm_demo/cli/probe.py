"""`python -m vlm_demo probe`: labelled photographs → what the vision encoders alone tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlm_demo.cli import options
from vlm_demo.cli.command import Command, application, one_of

app = application()
TOWERS = ("efficientnet-lite2", "dinov2-vit-s-focus")


@app.command(cls=Command)
def probe(
    context: typer.Context,
    photos: Annotated[Path, typer.Option(metavar="FOLDER", help="holds the folders of labelled photographs")],
    towers: Annotated[
        list[str] | None,
        typer.Option(parser=one_of(TOWERS), metavar="NAME ...", help=f"of {', '.join(TOWERS)}; default: both"),
    ] = None,
    sides: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="PIXELS ...", help="multiples of 32, or of 14 for the ViT; default: four, and two"),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="the first N pictures of each folder")] = None,
    threads: options.Threads = 2,
) -> None:
    """Measure what the vision encoders alone tell apart, with a linear probe."""
    import torch

    from vlm_demo.evaluation.linear_probe import ENCODERS, table

    chosen = {name: ENCODERS[name] for name in towers or TOWERS}
    for side in sides or ():
        if all(side % encoder.stride for encoder in chosen.values()):
            strides = " or ".join(str(encoder.stride) for encoder in chosen.values())
            context.fail(f"--sides: {side} is no multiple of {strides}")
    fitting = {
        name: [side for side in sides or encoder.sides if side % encoder.stride == 0]
        for name, encoder in chosen.items()
    }
    torch.set_num_threads(threads)
    print(table(photos, fitting, limit, lambda _fraction, _text: None))
