"""`python -m vlm_demo bridges`: the embedded families side by side, in one table."""

from __future__ import annotations

from typing import Annotated

import typer

from vlm_demo.cli.command import Command, application

app = application()


@app.command(cls=Command)
def bridges(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL ...]", help="of the embedded ones; default: all that compare")
    ] = None,
) -> None:
    """Compare the embedded families: what is trained, what a picture costs, what comes of it."""
    from vlm_demo.evaluation.bridges import FAMILIES, compare, table

    print(table(compare(tuple(models or FAMILIES))))
