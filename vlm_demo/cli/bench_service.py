"""`bench --load`, `--faults`, `--serving` and `--plan`: the server and its replicas, not the model."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import typer

VISITORS = (1, 8, 32)


def load(model: str, visitors: Sequence[int], minutes: float, out: Path) -> None:
    """Print and write what visitors received; the exit status is 1 where one got a wrong answer or none."""
    from vlm_demo.bench.load import under_load

    runs = []
    for count in visitors:
        runs.append(under_load(count, minutes, model))
        print(runs[-1].line(), flush=True)
        _write(out, "load", [run.as_dict() for run in runs])
    if not all(run.passed for run in runs):
        raise typer.Exit(1)


def faults(model: str, out: Path) -> None:
    """Print and write the outcome of each fault; the exit status is 1 where one was not survived."""
    from vlm_demo.bench.faults import all_faults

    outcomes = []
    for fault in all_faults(model):
        outcomes.append(fault)
        print(fault.line(), flush=True)
        _write(out, "faults", [outcome.as_dict() for outcome in outcomes])
    if any(fault.survived is False for fault in outcomes):
        raise typer.Exit(1)


def serving(model: str, minutes: float, out: Path) -> None:
    """Measure one and two replicas, print it, and write what `plan` reads."""
    from vlm_demo.bench.replicas import measured

    found = measured(model, minutes * 60)
    for line in found.lines():
        print(line)
    _write(out, "serving", found.as_dict() | {"machine": _machine()})


def plan(path: Path, replicas: int, busy: float, picture: float | None) -> None:
    """Print the plan for so many replicas and pictures of so many MB."""
    from vlm_demo.bench import plan as planning

    measured = planning.read(path)
    size = picture * 1e6 * planning.BASE64 if picture else None
    for line in planning.report(measured, planning.plan(measured, replicas, busy, size)):
        print(line)


def _machine() -> dict[str, object]:
    return {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()}


def _write(out: Path, name: str, results: object) -> None:
    report = results if isinstance(results, dict) else {name: results, "machine": _machine()}
    out.with_name(f"{out.name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
