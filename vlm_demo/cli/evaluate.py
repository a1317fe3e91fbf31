"""`python -m vlm_demo evaluate`: a folder with known answers → what the model gets right, as a table and as JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlm_demo.cli import options as shared
from vlm_demo.cli.command import Command, application
from vlm_demo.cli.options import ModelOptions
from vlm_demo.trust import Trust

if TYPE_CHECKING:
    from vlm_demo.contracts.engine import Engine, MeasurableEngine
    from vlm_demo.evaluation.items import Item, Skipped

app = application()


@dataclass(frozen=True)
class Settings:
    """What the options ask for: see their help."""

    folder: Path
    model: ModelOptions
    ocr: bool
    evidence_only: bool
    max_new_tokens: int | None
    limit: int | None
    pointing: bool
    method: list[str] | None
    choose: bool
    fit: bool
    curve: Path | None
    figures: Path | None


@app.command(cls=Command)
def evaluate(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="holds the questions and the pictures they name")
    ] = None,
    model: shared.Model = "llava",
    server: shared.ServerAddress = None,
    engine_model: shared.ServerModel = None,
    explain_with: shared.ExplainWith = None,
    quantize: shared.Quantize = "none",
    device: shared.Device = None,
    trust_remote_code: shared.TrustRemoteCode = False,
    allow_pickle: shared.AllowPickle = False,
    ocr: shared.Ocr = False,
    evidence_only: shared.EvidenceOnly = False,
    max_new_tokens: shared.MaxNewTokens = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="N items evenly over the kinds, always the same")
    ] = None,
    pointing: Annotated[
        bool, typer.Option("--pointing", help="measure heatmaps on the items with a phrase and boxes")
    ] = False,
    method: Annotated[
        list[str] | None, typer.Option(metavar="NAME ...", help="with --pointing: heatmap methods, or all")
    ] = None,
    choose: Annotated[
        bool,
        typer.Option(
            "--choose",
            help="with --pointing: choose the checkpoint's default map on one half of the items, score it on the other",
        ),
    ] = False,
    abstention: Annotated[
        bool, typer.Option("--abstention", help="ask each question without and with the evidence-only rule")
    ] = False,
    hallucination: Annotated[
        bool, typer.Option("--hallucination", help="what the evidence-only rule does to yes or no, and what it costs")
    ] = False,
    legibility: Annotated[
        bool,
        typer.Option("--legibility", help="from which height on it reads words, for the checklist; takes no FOLDER"),
    ] = False,
    pope: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE ...", help="with --hallucination: POPE's own files; FOLDER holds their pictures"),
    ] = None,
    chartqa: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE ...", help="ChartQA's own files, relaxed accuracy; FOLDER holds their png/"),
    ] = None,
    docvqa: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE ...", help="DocVQA's own files, ANLS; FOLDER holds their documents/"),
    ] = None,
    textvqa: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE ...", help="TextVQA's own files, VQA accuracy; FOLDER holds their train_images/"),
    ] = None,
    grounding: Annotated[bool, typer.Option("--grounding", help="measure the badges of the answers")] = False,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit", help="with --grounding: fit the badge; each eighth of the items is scored by a fit on the others"
        ),
    ] = False,
    curve: Annotated[
        Path | None, typer.Option(metavar="OUT.png", help="with --grounding: draw the reliability curve")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="write the figures to this file")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(metavar="OUT", help="write every prediction to this file, a line each")
    ] = None,
) -> None:
    """Score a folder with an items.jsonl, a captions.jsonl for models that score, or the pictures of a benchmark."""
    connection = shared.server_of(context, server, engine_model, explain_with)
    model_options = ModelOptions(model, quantize, device, Trust(trust_remote_code, allow_pickle), server=connection)
    if connection and (legibility or pointing or grounding):
        context.fail("--legibility, --pointing and --grounding measure a model that is loaded here: leave out --engine")
    if legibility and (figures or answers):
        context.fail("--legibility writes into the model's vlm_demo.json alone: leave out --json and --answers")
    if legibility:
        _read_words(model_options)
        return
    if folder is None:
        context.fail("a folder is needed")
    if (method or choose) and not pointing:
        context.fail("--method and --choose go with --pointing")
    if answers and (pointing or grounding):
        context.fail("--answers is for questions; --pointing and --grounding write no answers")
    if (fit or curve) and not grounding:
        context.fail("--fit and --curve go with --grounding")
    if abstention and (pointing or grounding):
        context.fail("--abstention is for answers; leave out --pointing and --grounding")
    if hallucination and (pointing or grounding or abstention or answers):
        context.fail("--hallucination goes without --pointing, --grounding, --abstention and --answers")
    if pope and not hallucination:
        context.fail("--pope goes with --hallucination")
    benchmark_paths = {
        name: files for name, files in (("ChartQA", chartqa), ("DocVQA", docvqa), ("TextVQA", textvqa)) if files
    }
    if len(benchmark_paths) > 1:
        context.fail("--chartqa, --docvqa and --textvqa have metrics of their own: give one of them at a time")
    if benchmark_paths and (pointing or grounding or hallucination):
        context.fail("--chartqa, --docvqa and --textvqa go without --pointing, --grounding and --hallucination")
    options = Settings(
        folder=folder,
        model=model_options,
        ocr=ocr,
        evidence_only=evidence_only,
        max_new_tokens=max_new_tokens,
        limit=limit,
        pointing=pointing,
        method=method,
        choose=choose,
        fit=fit,
        curve=curve,
        figures=figures,
    )

    if hallucination:
        _hallucinate(options, pope or [])
        return
    from vlm_demo.evaluation import items as questions
    from vlm_demo.evaluation import retrieval

    if not benchmark_paths and (folder / retrieval.FILE).is_file():
        if limit is not None or answers:
            context.fail("a folder with captions.jsonl is compared whole: leave out --limit and --answers")
        _retrieve(options)
        return
    items, skipped = _published(benchmark_paths, folder) if benchmark_paths else questions.read(folder)
    selected = questions.select(items, limit, pointing)
    for path in filter(None, (figures, answers, curve)):
        shared.check_writable(path)
    if any(ocr if item.ocr is None else item.ocr for item in selected):
        shared.require_ocr()
    selected = [_with_settings(item, options) for item in selected]
    if pointing:
        _point(shared.load(model_options), selected, skipped, options)
    elif grounding:
        _ground(shared.load(model_options), selected, skipped, options)
    else:
        about = {"benchmark": next(iter(benchmark_paths)), "metric": items[0].metric} if benchmark_paths else {}
        _ask(shared.engine(model_options), selected, skipped, options, abstention, answers, about)


def _ask(
    engine: Engine,
    items: list[Item],
    skipped: list[Skipped],
    options: Settings,
    twice: bool,
    answers: Path | None,
    about: dict[str, str],
) -> None:
    """Ask every question, and with ``twice`` both without and with the evidence-only rule; ``about`` is added to the
    report's settings."""
    from vlm_demo.evaluation import abstention, run

    if twice:
        items = abstention.twice(items)
    with answers.open("w", encoding="utf-8") if answers else contextlib.nullcontext() as file:
        report = run.evaluate(
            engine,
            options.folder,
            items,
            skipped,
            ocr=options.ocr,
            evidence_only=options.evidence_only,
            max_new_tokens=options.max_new_tokens,
            answers=file,
        )
    report.settings |= about
    if twice and (lost := abstention.lost(report)) is not None:
        report.settings["answerable_lost_by_rule"] = lost
        print(f"The rule costs {100 * lost:.1f} points of the answerable questions.")
    _report(report, engine, options)


def _published(files: dict[str, list[Path]], folder: Path) -> tuple[list[Item], list[Skipped]]:
    """The questions of a benchmark's published files, by its name."""
    from vlm_demo.evaluation import benchmark_files

    read = [
        benchmark_files.read(benchmark, file, folder)
        for benchmark in benchmark_files.BENCHMARKS
        for file in files.get(benchmark.name, [])
    ]
    return [item for items, _ in read for item in items], [one for _, skipped in read for one in skipped]


def _report(report: Any, engine: Engine, options: Settings) -> None:
    """Print the report, and write it with --json."""
    report.settings |= {
        "folder": str(options.folder),
        "model": engine.name if options.model.server else options.model.model,
        "precision": engine.precision,
        "ocr": options.ocr,
        "evidence_only": options.evidence_only,
        "max_new_tokens": options.max_new_tokens,
        "limit": options.limit,
        "pointing": options.pointing,
    }
    print(report.table())
    if options.figures:
        options.figures.write_text(json.dumps(report.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _with_settings(item: Item, options: Settings) -> Item:
    """The item with the run's settings where it sets none itself."""
    ocr = options.ocr if item.ocr is None else item.ocr
    evidence_only = options.evidence_only if item.evidence_only is None else item.evidence_only
    return dataclasses.replace(item, ocr=ocr, evidence_only=evidence_only)


def _point(engine: MeasurableEngine, items: list[Item], skipped: list[Skipped], options: Settings) -> None:
    """Measure heatmap methods on pointing items."""
    from vlm_demo.contracts import checkpoint_settings
    from vlm_demo.contracts.heatmap_methods import BY_NAME
    from vlm_demo.evaluation import heatmap_benchmark, select_method

    names = list(BY_NAME) if options.method == ["all"] else options.method
    if options.choose:
        settings, found = select_method.choose(engine, options.folder, items, names)
        file = checkpoint_settings.write_settings(engine.settings_folder, settings)
        print(f"{file} now names {settings.method} as the default.", file=sys.stderr)
    else:
        found = heatmap_benchmark.compare(engine, options.folder, items, skipped, names=names)
    _report(found, engine, options)


def _ground(engine: MeasurableEngine, items: list[Item], skipped: list[Skipped], options: Settings) -> None:
    """Measure badges, after fitting them with --fit."""
    from vlm_demo.checks.calibration import read_calibration, write_calibration
    from vlm_demo.evaluation import badges

    answers = badges.collect(engine, options.folder, items, skipped, max_new_tokens=options.max_new_tokens)
    if options.fit:
        found = badges.cross_judge(answers)
        assert found.calibration is not None
        file = write_calibration(engine.settings_folder, found.calibration)
        print(f"{file} now holds what the evidence is worth.", file=sys.stderr)
    else:
        found = badges.judge(answers, read_calibration(engine.settings_folder))
    found.skipped = skipped
    if options.curve and found.scores:
        found.draw(options.curve)
    _report(found, engine, options)


def _read_words(model_options: ModelOptions) -> None:
    """Measure down to which height a model reads words, and write it into its checkpoint."""
    from vlm_demo.checks.legible_height import write_legibility
    from vlm_demo.evaluation import legibility

    engine = shared.load(model_options)
    found = legibility.measure(engine)
    print(found.table())
    file = write_legibility(engine.settings_folder, found.reads_from, found.words)
    print(f"{file} now says from which height on it reads.", file=sys.stderr)


def _hallucinate(options: Settings, pope: list[Path]) -> None:
    """Ask every question without and with the rule; those of POPE's files, or the folder's items."""
    from vlm_demo.evaluation import evidence_only, run
    from vlm_demo.evaluation import items as questions

    read = [evidence_only.read_pope(file) for file in pope] or [questions.read(options.folder)]
    items = questions.select([item for found, _ in read for item in found], options.limit)
    skipped = [one for _, lost in read for one in lost]
    if options.figures:
        shared.check_writable(options.figures)
    if options.ocr:
        shared.require_ocr()
    selected = evidence_only.twice(items)
    answers, engine = io.StringIO(), shared.engine(options.model)
    report = run.evaluate(
        engine,
        options.folder,
        selected,
        skipped,
        ocr=options.ocr,
        max_new_tokens=options.max_new_tokens,
        answers=answers,
    )
    _report(evidence_only.figures(answers.getvalue().splitlines(), report.skipped), engine, options)


def _retrieve(options: Settings) -> None:
    from vlm_demo.evaluation import retrieval

    lines = retrieval.read(options.folder)
    if options.figures:
        shared.check_writable(options.figures)
    found = retrieval.retrieve(shared.engine(options.model), options.folder, lines)
    print(found.table())
    if options.figures:
        options.figures.write_text(json.dumps(found.as_dict(), indent=2) + "\n", encoding="utf-8")
