"""`python -m vlm_demo draw`: writes a folder of held-out pictures with questions, which `evaluate` scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlm_demo.cli.command import Command, application, one_of
from vlm_demo.evaluation.photo_items import KINDS, make
from vlm_demo.training.worlds.held_out import AREAS, export, export_captions, export_world

app = application()
CAPTIONS, WORLD, PHOTOS = "captions", "world", "photos-held-out"
CHOICES = (*AREAS, CAPTIONS, WORLD, PHOTOS)


@app.command(cls=Command)
def draw(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="where they are written")],
    area: Annotated[str, typer.Argument(parser=one_of(CHOICES), metavar="AREA", help=f"one of {', '.join(CHOICES)}")],
    per_kind: Annotated[int, typer.Option(metavar="N", help="questions of each kind, or captions of each area")] = 60,
    seed: Annotated[int, typer.Option(metavar="N", help="another one than training's")] = 1000,
    photos: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help=f"of {PHOTOS}: holds the folders of photographs; they are copied"),
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            parser=one_of(KINDS), metavar="KIND ...", help=f"of {PHOTOS}: some of {', '.join(KINDS)}; default: all"
        ),
    ] = None,
) -> None:
    """Draw held-out pictures with questions, as a folder that evaluate scores."""
    if (area == PHOTOS) != (photos is not None):
        context.fail(f"{PHOTOS} and --photos go together")
    if kinds and photos is None:
        context.fail(f"--kinds goes with {PHOTOS}")
    if photos is not None:
        counts = make(photos, folder, per_kind, seed, kinds)
    elif area in (CAPTIONS, WORLD):
        counts = {CAPTIONS: export_captions, WORLD: export_world}[area](folder, per_kind, seed)
    else:
        counts = export(folder, area, per_kind, seed)
    print(f"{sum(counts.values())} items of {len(counts)} kinds in {folder}")
