"""`python -m vlm_demo export`: an embedded model → an ordinary Hugging Face checkpoint in a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vlm_demo.cli.command import Command, application

app = application()


@app.command(cls=Command)
def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="of an embedded model")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="a new or an empty folder")],
) -> None:
    """Copy an embedded model as an ordinary Hugging Face checkpoint to a folder."""
    from vlm_demo.models import embedded, loading

    embedded.require_empty(folder)
    announced = loading.announcement(name)
    if announced:
        print(announced, file=sys.stderr)
    embedded.export(loading.checkpoint(name), folder)
    print(f"{name} lies in {folder}; after `import vlm_demo`, transformers' from_pretrained loads it.")
