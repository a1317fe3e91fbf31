"""`python -m vlm_demo probe`: labelled photographs → what the vision encoder alone tells apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlm_demo.cli import options
from vlm_demo.cli.command import Command, application

app = application()


def _side(text: str) -> int:
    side = int(text)
    if side < 32 or side % 32:
        raise typer.BadParameter("must be a multiple of 32")
    return side


@app.command(cls=Command)
def probe(
    photos: Annotated[Path, typer.Option(metavar="FOLDER", help="holds the folders of labelled photographs")],
    sides: Annotated[
        list[int] | None, typer.Option(parser=_side, metavar="PIXELS ...", help="multiples of 32; default: four")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="the first N pictures of each folder")] = None,
    threads: options.Threads = 2,
) -> None:
    """Measure what the vision encoder alone tells apart, with a linear probe."""
    import torch

    from vlm_demo.evaluation.linear_probe import SIDES, table

    torch.set_num_threads(threads)
    print(table(photos, sides or SIDES, limit, lambda _fraction, _text: None))
