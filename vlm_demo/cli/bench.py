"""`python -m vlm_demo bench`: times this pipeline against plain transformers on random weights of real sizes."""

from __future__ import annotations

import gc
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vlm_demo.bench.shapes import QUANTIZED, TEXT, Shape
from vlm_demo.cli.command import Command, application, one_of
from vlm_demo.cli.options import Model
from vlm_demo.errors import VlmDemoError

if TYPE_CHECKING:
    from vlm_demo.bench.measure import Measurement

app = application()
SHAPES = ("0.5b", "2b")
SMALL_SIDE = 196  # 14 × 14 image tokens
VISITORS = 8  # who share a model
MANY = 5  # pictures of 576 image tokens: 2,880 together


@app.command(cls=Command)
def bench(
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            parser=one_of(TEXT),
            metavar="SHAPE ...",
            help=f"of {', '.join(TEXT)}, which takes 14 GB of memory and of disk; default: {' '.join(SHAPES)}",
        ),
    ] = None,
    tokens: Annotated[
        int, typer.Option(min=2, metavar="N", help="of an answer, at least 2: the first token is timed apart")
    ] = 16,
    repeats: Annotated[int, typer.Option(metavar="N", help="turns of each measurement, after one to warm up")] = 3,
    clock: Annotated[
        Literal["wall", "cpu"],
        typer.Option(help="cpu: the processor's time of one thread, for a machine that has other work"),
    ] = "wall",
    together: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help=f"instead: {VISITORS} visitors of this model at once, against one by one"),
    ] = None,
    openvino: Annotated[
        bool,
        typer.Option("--openvino", help="compare the first token with OpenVINO's too (extra openvino, on the CPU)"),
    ] = False,
    out: Annotated[Path, typer.Option(metavar="OUT", help="OUT.json and OUT.png are written")] = Path("bench"),
    load: Annotated[bool, typer.Option("--load", help="instead: visitors at the app, see --visitors")] = False,
    faults: Annotated[bool, typer.Option("--faults", help="instead: what may go wrong around the app")] = False,
    serving: Annotated[bool, typer.Option("--serving", help="instead: one and two replicas of serve")] = False,
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="instead: plan --replicas by what --serving wrote")
    ] = None,
    visitors: Annotated[list[int] | None, typer.Option(min=1, metavar="N ...", help="default: 1 8 32")] = None,
    minutes: Annotated[float, typer.Option(min=0.05, metavar="N", help="of each number of visitors")] = 10,
    replicas: Annotated[int, typer.Option(min=1, metavar="N", help="of the plan")] = 100,
    busy: Annotated[float, typer.Option(min=0.01, max=0.99, metavar="SHARE", help="of their time, in the plan")] = 0.7,
    picture: Annotated[
        float | None, typer.Option(min=0.001, metavar="MB", help="that is sent, in the plan; default: as measured")
    ] = None,
    model: Model = "llava",
) -> None:
    """Time this pipeline against plain transformers on random weights of real sizes."""
    if not out.parent.is_dir():
        raise VlmDemoError(f"There is no folder {out.parent} to write {out.name} into; make it first.")
    if load or faults or serving or plan:
        from vlm_demo.cli import bench_service

        if plan:
            bench_service.plan(plan, replicas, busy, picture)
        elif serving:
            bench_service.serving(model, minutes, out)
        elif faults:
            bench_service.faults(model, out)
        else:
            bench_service.load(model, visitors or bench_service.VISITORS, minutes, out)
        return
    if openvino:
        from vlm_demo.bench import openvino_reference

        openvino_reference.import_openvino()
    from vlm_demo.bench import timing

    timing.use(clock)
    rows: list[Measurement] = []
    print(f"{'shape':<26}  {'what':<36}  {'ours':>9}  {'plain':>9}  {'unit':<8}  {'better':>7}")
    repeats = max(1, repeats)
    for row in shared(together, tokens, repeats) if together else measured(shapes or SHAPES, tokens, repeats, openvino):
        rows.append(row)
        print(line(row), flush=True)
    write(rows, out, clock)


def measured(shapes: Sequence[str], tokens: int, repeats: int, openvino: bool = False) -> Iterator[Measurement]:
    """All rows, as they are measured; with ``openvino`` those against OpenVINO as well."""
    from vlm_demo.bench import measure
    from vlm_demo.bench.shapes import write as write_checkpoint

    smallest = shapes[0]
    yield measure.starting(repeats)
    with tempfile.TemporaryDirectory() as directory:
        for text in shapes:
            shape, folder = Shape(text), Path(directory) / text
            print(f"Writing random weights of the shape {text}.", file=sys.stderr)
            write_checkpoint(shape, folder)
            name = f"{text}, {shape.image_tokens} image tokens"
            yield measure.loading(name, folder, repeats)
            pipe = measure.load(folder)
            yield from measure.answering(name, pipe, tokens, repeats)
            if openvino:
                yield measure.against_openvino(name, pipe, repeats)
            yield measure.against_memory(name, pipe, tokens, repeats)
            yield measure.asking_again(name, pipe, tokens, repeats)
            yield measure.with_heatmaps(name, pipe, tokens, repeats)
            if text == smallest:
                many = f"{text}, {MANY * shape.image_tokens} image tokens"
                for row in measure.answering(many, pipe, tokens, repeats, MANY):
                    yield row
                with_many = row  # the decode row is the last one
                yield measure.with_heatmaps(many, pipe, tokens, repeats, MANY)
                yield from measure.against_eager(many, pipe, tokens, 1, MANY)
            del pipe
            gc.collect()
            if text in QUANTIZED:
                yield from measure.quantized(name, folder, tokens, repeats)
        few, folder = Shape(smallest, SMALL_SIDE), Path(directory) / "few"
        write_checkpoint(few, folder)
        pipe = measure.load(folder)
        for row in measure.answering(f"{smallest}, {few.image_tokens} image tokens", pipe, tokens, repeats):
            yield row
        growing = f"decode at {with_many.shape.split()[1]} / at {few.image_tokens} image tokens"
        yield measure.more(smallest, growing, with_many.ours, row.ours, row.unit)


def shared(model: str, tokens: int, repeats: int) -> Iterator[Measurement]:
    """The rows of several requests to one model at once, in the checkpoint's precision and in fp32."""
    from vlm_demo.bench import measure
    from vlm_demo.bench import together as visitors

    pipe = measure.load(model, own_thread=True)  # as servers load it
    yield from visitors.rows(model, pipe, VISITORS, tokens, repeats)
    if pipe.precision != "fp32":
        del pipe
        gc.collect()
        pipe = measure.load(model, dtype="float32", own_thread=True)
        yield from visitors.rows(model, pipe, VISITORS, tokens, repeats)


def line(row: Measurement) -> str:
    """One row of the table."""
    return f"{row.shape:<26}  {row.what:<36}  {row.ours:9.3f}  {row.plain:9.3f}  {row.unit:<8}  {row.ratio:6.2f}×"


def write(rows: Sequence[Measurement], out: Path, clock: str) -> None:
    """``out``.json with the rows and the machine, ``out``.png with their ratios."""
    import torch
    import transformers

    machine = {
        "processor": platform.processor() or platform.machine(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "clock": clock,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    report = {"machine": machine, "rows": [row.as_dict() for row in rows]}
    out.with_name(f"{out.name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")

    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.32 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    axes.barh([f"{row.what} ({row.shape})" for row in rows], [row.ratio for row in rows])
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="times better than plain transformers, or than what stands behind the stroke")
    figure.savefig(out.with_name(f"{out.name}.png"), dpi=120)
