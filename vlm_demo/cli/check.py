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

    trust = Trust(trust_remote_code, allow_pickle)
    model_options = options.ModelOptions(model, quantize, device, trust, allow_image_host, chosen)
    request = Request(options.paged(images, page), question, ocr, evidence_only, max_new_tokens)
    loaded = None if chosen else options.load(model_options)
    try:
        answer, checks = _checked(loaded or options.engine(model_options), request)
    except ImageTokensMismatch as error:
        _show(None, (error.check,), as_json)
        raise
    if precisions and loaded:
        checks = _timed(loaded, model_options, request, answer, checks)
    _show(answer, checks, as_json)


def _checked(engine: Engine, request: Request) -> tuple[Answer, tuple[Check, ...]]:
    from vlm_demo.contracts.engine import answered
    from vlm_demo.engines import live_checks

    answer = answered(engine.stream(request))
    return answer, live_checks.complete(engine, answer, blank=True)


def _timed(
    engine: LocalEngine,
    model_options: options.ModelOptions,
    request: Request,
    answer: Answer,
    checks: tuple[Check, ...],
) -> tuple[Check, ...]:
    """The checklist with the time of the same question in every available precision; one that the model can't be loaded
    in is reported on stderr."""
    from vlm_demo.checks import checklist, latency
    from vlm_demo.models.quantization import release

    machine = engine.machine()
    seconds, weights = {engine.precision: _seconds(engine, request)}, dict(machine.weights)
    quantized: tuple[options.Precision, ...] = ("8bit", "4bit")
    for precision in quantized:
        if precision not in machine.weights:
            continue
        try:
            other = options.load(replace(model_options, quantize=precision))
        except VlmDemoError as error:
            print(error, file=sys.stderr)
            del weights[precision]
            continue
        seconds[precision], weights[precision] = _seconds(other, request), other.memory().parameter_bytes
        del other
        release()
    measured: Machine = replace(machine, seconds=seconds, weights=weights)
    latency_check = latency.check(
        answer.timings,
        answer.memory,
        measured,
        image_tokens=answer.prompt.image_tokens,
        answer_tokens=len(answer.tokens),
    )
    return checklist.replaced(checks, latency_check)


def _seconds(engine: LocalEngine, request: Request) -> float:
    """Seconds of the question with empty caches: the median of REPEATS, after one warm-up."""
    from vlm_demo.contracts.engine import answered

    totals = []
    for _ in range(REPEATS + 1):
        engine.forget()
        totals.append(answered(engine.stream(request)).timings.total)
    return median(totals[1:])


def _show(answer: Answer | None, checks: tuple[Check, ...], as_json: bool) -> None:
    from vlm_demo.checks import checklist

    if as_json:
        print(json.dumps(_as_json(answer, checks), ensure_ascii=False))
        return
    if answer is not None:
        print(printable(answer.text), end="\n\n")
    print(f"{checklist.headline(checks)} ({checklist.counted(checks)})")
    for item in checks:
        print(f"\n{item.verdict:<5} {item.name}: {printable(item.measured)}\n      {printable(item.why)}")
        if item.remedy:
            print(f"      → {item.remedy}")
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
