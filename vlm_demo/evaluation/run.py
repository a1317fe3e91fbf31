"""Run: items → the pipeline → a report. Goes on over unreadable pictures; says which.

Knows `ask`, `explain` and `can_explain`, so any engine behind them can be scored. Captions are kept until the end:
their score needs them all. What an item says was asked and answered before goes to the engine as the chat's history.
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
from vlm_demo.evaluation.answers import matches, stands_in
from vlm_demo.evaluation.cider import Captions
from vlm_demo.evaluation.hallucination import YesNo
from vlm_demo.evaluation.items import UNKNOWN, Item, Skipped
from vlm_demo.evaluation.pointing import hit, hottest
from vlm_demo.evaluation.report import Read, Report, Score


class Answering(Protocol):
    """What evaluation needs of a pipeline; ``image`` is a picture, the result has ``text`` and ``heatmap``, and if
    the engine tells what OCR read, ``ocr``."""

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
    engine: Answering,
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
        if item.phrase is None and not item.captions:
            report.kinds.setdefault(item.kind, Score())  # named even where every picture of it is skipped
        try:
            picture = pictures.open(item.image)
            if item.phrase is not None:
                report.pointing.add(_points(engine, picture, item, settings, note))
            else:
                said = _asked(engine, picture, item, settings, max_new_tokens)
                read = getattr(said, "ocr", None)  # an engine need not tell what it read
                _count(report, item, said.text, read.text if read else None, note)
        except BadQuestion as error:
            _count_refused(report, item)
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
            from vlm_demo.images.open import open_image

            self.name = None
            self.picture, _notes = open_image(self.folder / name)
            self.name = name
        return self.picture


def _count(report: Report, item: Item, prediction: str, text: str | None, note: dict[str, Any]) -> None:
    """Count an answer wherever it counts, and take it down in ``note``; ``text`` is what OCR read, None without."""
    note["prediction"] = prediction
    if item.captions:
        report.captions.setdefault(item.kind, Captions()).add(prediction, item.captions)
        return
    right = note["right"] = matches(item.metric, prediction, item.answers)
    report.kinds[item.kind].add(right)
    if YesNo.fits(item.answers):
        report.yes_no.setdefault(item.kind, YesNo()).add(item.answers, prediction)
    elif text is not None and item.answers != (UNKNOWN,):
        note["in_ocr_text"] = any(stands_in(item.metric, answer, text) for answer in item.answers)
        report.read.setdefault(item.kind, Read()).add(note["in_ocr_text"], right)


def _count_refused(report: Report, item: Item) -> None:
    report.refused += 1
    if item.captions and item.phrase is None:
        report.captions.setdefault(item.kind, Captions()).add("", item.captions)
    else:
        (report.kinds[item.kind] if item.phrase is None else report.pointing).add(False)


def _points(engine: Answering, picture: Any, item: Item, settings: dict[str, bool], note: dict[str, Any]) -> bool:
    """Whether the heatmap of the item's phrase is hottest on it; ``note`` takes down where."""
    assert item.phrase is not None
    if not engine.can_explain:
        raise _CannotExplainError("this model gives no heatmaps")
    heatmap = engine.explain(picture, item.question, item.phrase, **settings).heatmap(item.phrase)
    note["hottest"] = hottest(heatmap)
    note["right"] = hit(heatmap, item.boxes)
    return note["right"]


def _asked(engine: Answering, picture: Any, item: Item, settings: dict[str, bool], max_new_tokens: int | None) -> Any:
    """The engine's answer; the picture belongs to the first turn of the chat."""
    history = tuple(Turn(question, answer, () if i else (picture,)) for i, (question, answer) in enumerate(item.before))
    shown = [] if history else picture
    return engine.ask(shown, item.question, max_new_tokens=max_new_tokens, history=history, **settings)


def _so_far(report: Report) -> str:
    parts = [("right", report.overall), ("pointing", report.pointing)]
    return ", ".join(f"{name} {score.right / score.n:.1%}" for name, score in parts if score.n)
