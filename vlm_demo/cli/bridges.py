"""`python -m vlm_demo bridges`: the embedded families side by side on the same pictures, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlm_demo.cli.command import Command, application

app = application()


@app.command(cls=Command)
def bridges(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="holds the questions and the pictures they name")],
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL ...]", help="embedded ones; default: all")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="N items evenly over the kinds, always the same")
    ] = None,
) -> None:
    """Compare the embedded families: what is trained, what a picture costs, what comes of it."""
    from vlm_demo.evaluation import items
    from vlm_demo.evaluation.bridge_comparison import comparable, compare, table

    found, _skipped = items.read(folder)
    print(table(compare(folder, items.select(found, limit), tuple(models or comparable()))))
