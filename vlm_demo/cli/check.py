"""`python -m vlm_demo check`: pictures and a question → the answer, and the five checks on it, as a table or JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlm_demo.cli import options
from vlm_demo.cli.command import Command, application
from vlm_demo.cli.output import printable
from vlm_demo.errors import ImageTokensMismatch, VlmDemoError
from vlm_demo.trust import Trust

if TYPE_CHECKING:
    from vlm_demo.checks.latency import Machine
    from vlm_demo.contracts import Answer, Check
    from vlm_demo.contracts.engine import Engine, Request
    from vlm_demo.engines.local import LocalEngine

REPEATS = 3

app = application()


@app.command(cls=Command)
def check(
    context: typer.Context,
    given: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE [IMAGE ...] QUESTION", help="one or more pictures, and at the end the question"),
    ],
    model: options.Model = "llava",
    server: options.ServerAddress = None,
    engine_model: options.ServerModel = None,
    explain_with: options.ExplainWith = None,
    quantize: options.Quantize = "none",
    device: options.Device = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    allow_image_host: options.AllowImageHost = "",
    page: options.PageNumber = None,
    ocr: options.Ocr = False,
    evidence_only: options.EvidenceOnly = False,
    max_new_tokens: options.MaxNewTokens = None,
    precisions: Annotated[
        bool, typer.Option("--precisions", help="load the model in 8 and 4 bit too, and time the same question")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the table")] = False,
) -> None:
    """Ask a question, and run the checklist on the answer: what may be wrong, why, and what to do."""
    if len(given) < 2:
        context.fail("a picture and a question are needed")
    *images, question = given
    chosen = options.server_of(context, server, engine_model, explain_with)
    if chosen and precisions:
        context.fail("--precisions loads the model here in each: leave out --engine")

    from vlm_demo.contracts.engine import Request

    allowed = Trust(trust_remote_code, allow_pickle)
    wanted = options.ModelOptions(model, quantize, device, allowed, allow_image_host, chosen)
    request = Request(options.paged(images, page), question, ocr, evidence_only, max_new_tokens)
    loaded = None if chosen else options.load(wanted)
    try:
        answer, checks = _checked(loaded or options.engine(wanted), request)
    except ImageTokensMismatch as error:
        _show(None, (error.check,), as_json)
        raise
    if precisions and loaded:
        checks = _timed(loaded, wanted, request, answer, checks)
    _show(answer, checks, as_json)


def _checked(engine: Engine, request: Request) -> tuple[Answer, tuple[Check, ...]]:
    from vlm_demo.contracts.engine import answered
    from vlm_demo.engines import live_checks

    answer = answered(engine.stream(request))
    return answer, live_checks.complete(engine, answer, blank=True)


def _timed(
    engine: LocalEngine, wanted: options.ModelOptions, request: Request, answer: Answer, checks: tuple[Check, ...]
) -> tuple[Check, ...]:
    """The checklist with what the same question takes in every precision that can be had here; a model that can't be
    loaded in one is said to be so on stderr."""
    from vlm_demo.checks import checklist, latency
    from vlm_demo.models.quantization import release

    machine = engine.machine()
    seconds, weights = {engine.precision: _seconds(engine, request)}, dict(machine.weights)
    packed: tuple[options.Precision, ...] = ("8bit", "4bit")
    for precision in packed:
        if precision not in machine.weights:
            continue
        try:
            other = options.load(replace(wanted, quantize=precision))
        except VlmDemoError as error:
            print(error, file=sys.stderr)
            del weights[precision]
            continue
        seconds[precision], weights[precision] = _seconds(other, request), other.memory().parameter_bytes
        del other
        release()
    measured: Machine = replace(machine, seconds=seconds, weights=weights)
    told = latency.check(
        answer.timings,
        answer.memory,
        measured,
        image_tokens=answer.prompt.image_tokens,
        answer_tokens=len(answer.tokens),
    )
    return checklist.replaced(checks, told)


def _seconds(engine: LocalEngine, request: Request) -> float:
    """What the question takes from the start, nothing remembered: the median of some, after one that does not count."""
    from vlm_demo.contracts.engine import answered

    found = []
    for _ in range(REPEATS + 1):
        engine.forget()
        found.append(answered(engine.stream(request)).timings.total)
    return median(found[1:])


def _show(answer: Answer | None, checks: tuple[Check, ...], as_json: bool) -> None:
    from vlm_demo.checks import checklist

    if as_json:
        print(json.dumps(_as_json(answer, checks), ensure_ascii=False))
        return
    if answer is not None:
        print(printable(answer.text), end="\n\n")
    print(f"{checklist.headline(checks)} ({checklist.counted(checks)})")
    for own in checks:
        print(f"\n{own.verdict:<5} {own.name}: {printable(own.measured)}\n      {printable(own.why)}")
        if own.remedy:
            print(f"      → {own.remedy}")
    if answer is not None and answer.replayed:
        print(answer.replayed, file=sys.stderr)


def _as_json(answer: Answer | None, checks: tuple[Check, ...]) -> dict[str, Any]:
    from vlm_demo.checks import checklist

    return {
        "text": answer.text if answer else None,
        "model": answer.model if answer else None,
        "replay": asdict(answer.replay) if answer and answer.replay else None,
        **checklist.as_json(checks),
    }
