"""`python -m vlm_demo catalogue`: sizes of pictures → what each costs the models of the catalog, as tables or JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from vlm_demo.cli.command import Command, application
from vlm_demo.words import gigabytes

if TYPE_CHECKING:
    from vlm_demo.engines.picture_costs import PictureCost

SIZE = re.compile(r"([1-9]\d{0,5})[x×]([1-9]\d{0,5})")
DEFAULT_SIZES = ["336x336", "1280x960", "4032x3024"]
HEAD = ("model", "image tokens", "of its context", "weights + cache", "in 4 bit")

app = application()


def _size(text: str) -> tuple[int, int]:
    found = SIZE.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no size; write WIDTHxHEIGHT in pixels, for instance 1280x960")
    return int(found[1]), int(found[2])


@app.command(cls=Command)
def catalogue(
    sizes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WIDTHxHEIGHT ...]", help=f"of pictures, in pixels; default: {' '.join(DEFAULT_SIZES)}"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the tables")] = False,
) -> None:
    """Tell what a picture costs each model that writes answers: image tokens, context, memory. Loads no model."""
    requested = [_size(text) for text in sizes or DEFAULT_SIZES]

    from vlm_demo.engines.picture_costs import costs

    costs_by_size = [(size, costs(size)) for size in requested]
    if as_json:
        print(json.dumps({"sizes": [_as_json(*one) for one in costs_by_size]}))
        return
    print("\n\n".join(_table(*one) for one in costs_by_size))


def _as_json(size: tuple[int, int], rows: Sequence[PictureCost]) -> dict[str, object]:
    return {"width": size[0], "height": size[1], "models": [dataclasses.asdict(row) for row in rows]}


def _table(size: tuple[int, int], rows: Sequence[PictureCost]) -> str:
    lines = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    drawn = (
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )
    return "\n".join([f"A picture of {size[0]} × {size[1]} pixels", *drawn])


def _cells(row: PictureCost) -> tuple[str, ...]:
    if row.image_tokens is None or row.of_context is None:
        return (row.name, "too elongated", "", "", "")
    if row.cross_attention:
        share = "1 token"
    else:
        share = f"{100 * row.of_context:.1f}%" if row.of_context < 1 else f"{row.of_context:.1f} times"
    return (row.name, f"{row.image_tokens:,}", share, _memory(row.memory_bytes), _memory(row.memory_bytes_4bit))


def _memory(count: int | None) -> str:
    return "-" if count is None else gigabytes(count)
