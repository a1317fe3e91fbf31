"""Run: items → an engine → a report. Skips unreadable pictures and lists them.

Captions are collected until the end: their score needs them all. The earlier turns of an item go to the engine as the
chat's history.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from PIL import Image

from vlm_demo.contracts import Answer, Turn
from vlm_demo.contracts.engine import Engine, Request, answered
from vlm_demo.errors import BadImage, BadQuestion, OcrUnavailable, WordNotInAnswer
from vlm_demo.evaluation.answers import occurs_in
from vlm_demo.evaluation.benchmark_scores import scored
from vlm_demo.evaluation.cider import Captions
from vlm_demo.evaluation.items import UNKNOWN, Item, Skipped
from vlm_demo.evaluation.pointing import hit, hottest
from vlm_demo.evaluation.report import InOcrText, Report, Score
from vlm_demo.evaluation.yes_no import YesNo
from vlm_demo.images.open import open_image


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
        engine: what is tested.
        folder: what the items' image paths are relative to.
        items, skipped: as `items.read` and `items.select` give them.
        ocr, evidence_only: for the items that do not set them.
        max_new_tokens: the longest answer; None leaves it to the checkpoint.
        answers: where to write each item's prediction as a JSON line.
        progress: draw a bar on stderr.
    """
    from tqdm import tqdm  # imported here, so that reading items does not wait for it

    report = Report(skipped=list(skipped))
    pictures = LastPicture(folder)
    started = time.perf_counter()
    bar = tqdm(items, unit="item", file=sys.stderr, disable=not progress, dynamic_ncols=True)
    for item in bar:
        settings = Toggles(
            ocr if item.ocr is None else item.ocr,
            evidence_only if item.evidence_only is None else item.evidence_only,
        )
        record: dict[str, Any] = {}
        if item.phrase is None and not item.captions:
            report.kinds.setdefault(item.kind, Score())  # named even where every picture of it is skipped
        try:
            picture = pictures.open(item.image)
            if item.phrase is not None:
                report.pointing.add(_points(engine, picture, item, settings, record))
            else:
                answer = ask(engine, picture, item, settings, max_new_tokens)
                _count(report, item, answer.text, answer.ocr.text if answer.ocr else None, record)
        except BadQuestion as error:
            _count_refused(report, item)
            record["refused"] = str(error)
        except (BadImage, OcrUnavailable, WordNotInAnswer, _CannotExplainError) as error:
            report.skipped.append(Skipped(item.line, item.image, str(error), item.place))
            record["skipped"] = str(error)
        bar.set_postfix_str(_progress_text(report), refresh=False)
        if answers:
            fields = {"line": item.line, "image": item.image, "question": item.question, "kind": item.kind}
            expected = item.phrase if item.phrase is not None else item.answers
            answers.write(json.dumps({**fields, "expected": expected, **record}, ensure_ascii=False) + "\n")
            answers.flush()
    for kind in {item.kind for item in items if not YesNo.fits(item.answers)}:
        report.yes_no.pop(kind, None)
    report.skipped.sort(key=lambda one: (one.place, one.line))
    report.settings["seconds"] = round(time.perf_counter() - started, 3)
    return report


@dataclass(frozen=True)
class Toggles:
    """Whether the pictures' text is read (OCR), and whether "unknown" is asked for where nothing is seen."""

    ocr: bool = False
    evidence_only: bool = False


class _CannotExplainError(Exception):
    """The engine gives no heatmaps, so a pointing item can't be scored."""


class LastPicture:
    """Opens pictures, keeping the last: items about one picture follow one another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name: str | None = None
        self.picture: Image.Image | None = None

    def open(self, name: str) -> Image.Image:
        """The picture of that name.

        Raises:
            BadImage: it can't be opened.
        """
        if self.picture is None or name != self.name:
            self.picture = None
            self.picture, _notes = open_image(self.folder / name)
            self.name = name
        return self.picture


def _count(report: Report, item: Item, prediction: str, text: str | None, record: dict[str, Any]) -> None:
    """Count an answer in the report and record it; ``text`` is what OCR read, None without."""
    record["prediction"] = prediction
    if item.captions:
        report.captions.setdefault(item.kind, Captions()).add(prediction, item.captions)
        return
    right = scored(item.metric, prediction, item.answers)
    record["right" if isinstance(right, bool) else "score"] = right
    report.kinds[item.kind].add(right)
    if YesNo.fits(item.answers):
        report.yes_no.setdefault(item.kind, YesNo()).add(item.answers, prediction)
    elif text is not None and item.answers != (UNKNOWN,):
        record["in_ocr_text"] = any(occurs_in(item.metric, answer, text) for answer in item.answers)
        report.in_ocr_text.setdefault(item.kind, InOcrText()).add(record["in_ocr_text"], right)


def _count_refused(report: Report, item: Item) -> None:
    report.refused += 1
    if item.captions and item.phrase is None:
        report.captions.setdefault(item.kind, Captions()).add("", item.captions)
    else:
        (report.kinds[item.kind] if item.phrase is None else report.pointing).add(False)


def _points(engine: Engine, picture: Image.Image, item: Item, settings: Toggles, record: dict[str, Any]) -> bool:
    """Whether the heatmap of the item's phrase is hottest on it; ``record`` gets the pixel."""
    assert item.phrase is not None
    if not engine.capabilities.explains:
        raise _CannotExplainError("this model gives no heatmaps")
    request = Request((picture,), item.question, settings.ocr, settings.evidence_only)
    heatmap = engine.explain(request, item.phrase).heatmap(item.phrase)
    record["hottest"] = hottest(heatmap)
    record["right"] = hit(heatmap, item.boxes)
    return record["right"]


def ask(
    engine: Engine, picture: Image.Image, item: Item, settings: Toggles, max_new_tokens: int | None = None
) -> Answer:
    """The engine's answer to an item's question; the picture belongs to the first turn of the chat."""
    history = tuple(Turn(question, answer, () if i else (picture,)) for i, (question, answer) in enumerate(item.before))
    images = () if history else (picture,)
    request = Request(images, item.question, settings.ocr, settings.evidence_only, max_new_tokens, history)
    return answered(engine.stream(request))


def _progress_text(report: Report) -> str:
    parts = [("right", report.overall), ("pointing", report.pointing)]
    return ", ".join(f"{name} {score.right / score.n:.1%}" for name, score in parts if score.n)
