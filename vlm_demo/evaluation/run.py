"""Run: items → the pipeline → a report. Goes on over unreadable pictures; says which.

Knows `ask`, `explain` and `can_explain`, so any engine behind them can be scored. What an item says was asked and
answered before goes to the engine as the chat's history.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from vlm_demo.contracts import Turn
from vlm_demo.errors import BadImage, BadQuestion, OcrUnavailable, WordNotInAnswer
from vlm_demo.evaluation.answers import matches
from vlm_demo.evaluation.hallucination import YesNo
from vlm_demo.evaluation.items import Item, Skipped
from vlm_demo.evaluation.pointing import hit, hottest
from vlm_demo.evaluation.report import Report, Score


class Engine(Protocol):
    """What evaluation needs of a pipeline; ``image`` is a picture, the result has ``text`` and ``heatmap``."""

    @property
    def can_explain(self) -> bool: ...

    def ask(
        self,
        image: Any,
        question: str,
        *,
        ocr: bool,
        evidence_only: bool,
        max_new_tokens: int | None,
        history: Sequence[Turn] = (),
    ) -> Any: ...

    def explain(self, image: Any, question: str, answer_text: str, *, ocr: bool, evidence_only: bool) -> Any: ...


def evaluate(
    engine: Engine,
    folder: Path,
    items: Sequence[Item],
    skipped: Sequence[Skipped] = (),
    *,
    ocr: bool = False,
    evidence_only: bool = False,
    max_new_tokens: int | None = None,
    answers: TextIO | None = None,
    progress: bool = True,
) -> Report:
    """Ask every item and count what is right.

    A picture that can't be opened, or read where OCR is asked for, is skipped and named. A question that the engine
    refuses (too long for its context) counts as wrong, or a model with a short context would be flattered.

    Args:
        engine: the pipeline under test.
        folder: what the items' image paths are relative to.
        items, skipped: as `items.read` and `items.select` give them.
        ocr, evidence_only: for the items that do not say otherwise.
        max_new_tokens: the longest answer; None leaves it to the checkpoint.
        answers: where to write each item's prediction as a JSON line.
        progress: draw a bar on stderr.
    """
    from tqdm import tqdm  # here, so that reading items never waits for it

    report = Report(skipped=list(skipped))
    pictures = LastPicture(folder)
    started = time.perf_counter()
    bar = tqdm(items, unit="item", file=sys.stderr, disable=not progress, dynamic_ncols=True)
    for item in bar:
        settings = {
            "ocr": ocr if item.ocr is None else item.ocr,
            "evidence_only": evidence_only if item.evidence_only is None else item.evidence_only,
        }
        note: dict[str, Any] = {}
        score = report.kinds.setdefault(item.kind, Score()) if item.phrase is None else report.pointing
        try:
            score.add(_right(engine, pictures.open(item.image), item, settings, max_new_tokens, note))
            if item.phrase is None and YesNo.fits(item.answers):
                report.yes_no.setdefault(item.kind, YesNo()).add(item.answers, note["prediction"])
        except BadQuestion as error:
            score.add(False)
            report.refused += 1
            note["refused"] = str(error)
        except (BadImage, OcrUnavailable, WordNotInAnswer, _CannotExplainError) as error:
            report.skipped.append(Skipped(item.line, item.image, str(error)))
            note["skipped"] = str(error)
        bar.set_postfix_str(_so_far(report), refresh=False)
        if answers:
            about = {"line": item.line, "image": item.image, "question": item.question, "kind": item.kind}
            expected = item.phrase if item.phrase is not None else item.answers
            answers.write(json.dumps({**about, "expected": expected, **note}, ensure_ascii=False) + "\n")
            answers.flush()
    for kind in {item.kind for item in items if not YesNo.fits(item.answers)}:
        report.yes_no.pop(kind, None)
    report.skipped.sort(key=lambda one: one.line)
    report.settings["seconds"] = round(time.perf_counter() - started, 3)
    return report


class _CannotExplainError(Exception):
    """The engine gives no heatmaps, so a pointing item can't be scored."""


class LastPicture:
    """Opens pictures, keeping the last: items about one picture follow one another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name: str | None = None
        self.picture: Any = None

    def open(self, name: str) -> Any:
        if name != self.name:
            from vlm_demo.stages.view import open_image

            self.name = None
            self.picture, _notes = open_image(self.folder / name)
            self.name = name
        return self.picture


def _right(
    engine: Engine,
    picture: Any,
    item: Item,
    settings: dict[str, bool],
    max_new_tokens: int | None,
    note: dict[str, Any],
) -> bool:
    """Whether the engine is right about ``item``; ``note`` takes down what it said or where it pointed."""
    if item.phrase is None:
        note["prediction"] = _asked(engine, picture, item, settings, max_new_tokens)
        note["right"] = matches(item.metric, note["prediction"], item.answers)
        return note["right"]
    if not engine.can_explain:
        raise _CannotExplainError("this model gives no heatmaps")
    heatmap = engine.explain(picture, item.question, item.phrase, **settings).heatmap(item.phrase)
    note["hottest"] = hottest(heatmap)
    note["right"] = hit(heatmap, item.boxes)
    return note["right"]


def _asked(engine: Engine, picture: Any, item: Item, settings: dict[str, bool], max_new_tokens: int | None) -> str:
    """The engine's answer; the picture belongs to the first turn of the chat."""
    history = tuple(Turn(question, answer, () if i else (picture,)) for i, (question, answer) in enumerate(item.before))
    said = engine.ask(
        [] if history else picture, item.question, max_new_tokens=max_new_tokens, history=history, **settings
    )
    return said.text


def _so_far(report: Report) -> str:
    parts = [("right", report.overall), ("pointing", report.pointing)]
    return ", ".join(f"{name} {score.right / score.n:.1%}" for name, score in parts if score.n)
