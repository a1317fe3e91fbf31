"""`python -m vlm_demo evaluate`: a folder with known answers → what the model gets right, as a table and as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_demo.cli import options as shared

if TYPE_CHECKING:
    from vlm_demo import Pipeline


def main(arguments: list[str]) -> int:
    """Score a folder of questions with known answers."""
    parser = shared.command(
        "evaluate", "Score a folder with an items.jsonl, or a captions.jsonl for models that score."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="holds the questions and the pictures they name")
    shared.add_model(parser)
    shared.add_prompt(parser)
    parser.add_argument("--max-new-tokens", type=shared.positive, metavar="N", help="the longest answer, in tokens")
    parser.add_argument(
        "--limit", type=shared.positive, metavar="N", help="N items evenly over the kinds, always the same"
    )
    parser.add_argument("--pointing", action="store_true", help="measure heatmaps on the items with a phrase and boxes")
    parser.add_argument("--method", nargs="+", metavar="NAME", help="with --pointing: heatmap methods, or all")
    parser.add_argument(
        "--choose",
        action="store_true",
        help="with --pointing: choose the checkpoint's default map on one half of the items, score it on the other",
    )
    parser.add_argument(
        "--abstention", action="store_true", help="ask each question without and with the evidence-only rule"
    )
    parser.add_argument("--grounding", action="store_true", help="measure the badges of the answers")
    parser.add_argument(
        "--fit",
        action="store_true",
        help="with --grounding: fit the badge on one half of the items, score it on the other",
    )
    parser.add_argument("--curve", type=Path, metavar="OUT.png", help="with --grounding: draw the reliability curve")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.add_argument("--answers", type=Path, metavar="OUT", help="write every prediction to this file, a line each")
    options = parser.parse_args(arguments)
    if (options.method or options.choose) and not options.pointing:
        parser.error("--method and --choose go with --pointing")
    if options.answers and (options.pointing or options.grounding):
        parser.error("--answers is for questions; --pointing and --grounding write no answers")
    if (options.fit or options.curve) and not options.grounding:
        parser.error("--fit and --curve go with --grounding")

    if options.abstention and (options.pointing or options.grounding):
        parser.error("--abstention is for answers; leave out --pointing and --grounding")

    from vlm_demo.evaluation import abstention, retrieval, run
    from vlm_demo.evaluation import items as questions

    if (options.folder / retrieval.FILE).is_file():
        return _retrieve(options)
    items, skipped = questions.read(options.folder)
    chosen = questions.select(items, options.limit, options.pointing)
    for path in filter(None, (options.json, options.answers, options.curve)):
        shared.check_writable(path)
    if any(options.ocr if item.ocr is None else item.ocr for item in chosen):
        shared.require_ocr()
    pipe = shared.load(options)
    chosen = [_told(item, options) for item in chosen]
    if options.pointing:
        return _point(pipe, chosen, skipped, options)
    if options.grounding:
        return _ground(pipe, chosen, skipped, options)
    if options.abstention:
        chosen = abstention.twice(chosen)
    answers = options.answers.open("w", encoding="utf-8") if options.answers else None
    try:
        report = run.evaluate(
            pipe,
            options.folder,
            chosen,
            skipped,
            ocr=options.ocr,
            evidence_only=options.evidence_only,
            max_new_tokens=options.max_new_tokens,
            answers=answers,
        )
    finally:
        if answers:
            answers.close()
    if options.abstention and (lost := abstention.lost(report)) is not None:
        report.settings["answerable_lost_by_rule"] = lost
        print(f"The rule costs {100 * lost:.1f} points of the answerable questions.")
    return _report(report, pipe, options)


def _report(found: Any, pipe: Pipeline, options: argparse.Namespace) -> int:
    """Print what was found, and write it where asked for."""
    found.settings |= {
        "folder": str(options.folder),
        "model": options.model,
        "precision": pipe.precision,
        "ocr": options.ocr,
        "evidence_only": options.evidence_only,
        "max_new_tokens": options.max_new_tokens,
        "limit": options.limit,
        "pointing": options.pointing,
    }
    print(found.table())
    if options.json:
        options.json.write_text(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _told(item: Any, options: argparse.Namespace) -> Any:
    """The item with the run's settings where it has none of its own."""
    ocr = options.ocr if item.ocr is None else item.ocr
    evidence_only = options.evidence_only if item.evidence_only is None else item.evidence_only
    return dataclasses.replace(item, ocr=ocr, evidence_only=evidence_only)


def _point(pipe: Pipeline, items: list[Any], skipped: list[Any], options: argparse.Namespace) -> int:
    """Measure heatmap methods on pointing items."""
    from vlm_demo.evaluation import heatmap_benchmark, select_method
    from vlm_demo.explain import heatmap, methods

    names = list(methods.BY_NAME) if options.method == ["all"] else options.method
    if options.choose:
        settings, found = select_method.choose(pipe, options.folder, items, names)
        file = heatmap.write_settings(pipe.folder, settings)
        print(f"{file} now names {settings.method} as the default.", file=sys.stderr)
    else:
        found = heatmap_benchmark.compare(pipe, options.folder, items, skipped, names=names)
    return _report(found, pipe, options)


def _ground(pipe: Pipeline, items: list[Any], skipped: list[Any], options: argparse.Namespace) -> int:
    """Measure badges, after fitting them where that is asked for."""
    from vlm_demo.evaluation import badges
    from vlm_demo.explain.calibration import read_calibration, write_calibration

    told = badges.collect(pipe, options.folder, items, skipped)
    calibration = read_calibration(pipe.folder)
    if options.fit:
        calibration = badges.calibrate(told[::2])
        file = write_calibration(pipe.folder, calibration)
        print(f"{file} now holds what the evidence is worth.", file=sys.stderr)
        told = told[1::2]
    found = badges.judge(told, calibration)
    found.skipped = skipped
    if options.curve and found.scores:
        found.draw(options.curve)
    return _report(found, pipe, options)


def _retrieve(options: argparse.Namespace) -> int:
    from vlm_demo.evaluation import retrieval

    lines = retrieval.read(options.folder)
    if options.json:
        shared.check_writable(options.json)
    found = retrieval.retrieve(shared.load(options), options.folder, lines)
    print(found.table())
    if options.json:
        options.json.write_text(json.dumps(found.as_dict(), indent=2) + "\n", encoding="utf-8")
    return 0
