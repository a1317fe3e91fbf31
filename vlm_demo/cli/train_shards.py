"""`python -m vlm_demo train-shards`: draws pictures with questions once, into a folder that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlm_demo.cli import options
from vlm_demo.cli.command import Command, application, one_of
from vlm_demo.training.drawn import KINDS, draw

app = application()


@app.command(cls=Command)
def train_shards(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="where they are written, a folder a kind")],
    kinds: Annotated[
        list[str] | None,
        typer.Option(parser=one_of(KINDS), metavar="KIND ...", help=f"of {', '.join(KINDS)}; default: all"),
    ] = None,
    per_kind: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="pictures of each kind; default: a number for each")
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, metavar="N", help="draw a part of every kind before the next part of any")
    ] = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="which pictures are drawn")] = 1,
) -> None:
    """Draw pictures with captions, questions and OCR lines, stored once to be trained on."""
    chosen = kinds or list(KINDS)
    if any(KINDS[kind].reads for kind in chosen):
        options.require_ocr()
    draw(folder, {kind: per_kind or KINDS[kind].pictures for kind in chosen}, seed, rounds)
