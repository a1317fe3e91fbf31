"""Items: a folder's items.jsonl → the questions to ask, and the lines that could not be read.

One JSON object a line: `image` (a path relative to the folder), `question`, `answer` (text, number, or a list of
accepted ones), `kind`, `metric` (a key of `answers.METRICS`); optional `accepted` are further right answers. An item
with `captions` (reference captions of the picture) is scored by them all and needs neither `answer` nor `metric`; its
question asks for a description. An item with `phrase` and `boxes`
([[x0, y0, x1, y1], ...] in pixels) is a pointing item; its optional `mask` is the path of a picture of the same size,
white where the thing is. Optional `ocr` and `evidence_only` (true or false) override
the run's settings for that item; optional `before` ([{"question": ..., "answer": ...}, ...]) are the earlier turns of
the chat about the same picture, oldest first. Opens no picture.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlm_demo.errors import VlmDemoError
from vlm_demo.evaluation.answers import METRICS, fits
from vlm_demo.evaluation.pointing import Box

POINTING = "pointing"
UNKNOWN = "unknown"  # the right answer to what can't be known from the picture


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        line: its 1-based line in items.jsonl, or its number in a benchmark's file; see ``place``.
        image: the picture's path as the line gives it.
        answers: every accepted answer.
        kind: the group that it is reported under.
        metric: a key of `answers.METRICS` or, for a benchmark's question, of `benchmark_scores.SCORES`.
        phrase, boxes: the named thing and where it is; None and () for a question.
        captions: reference captions of the picture, where the question asks for a description; () for others.
        mask: the path of a picture that is white where the named thing is; None where only boxes are known.
        ocr, evidence_only: override the run's settings; None leaves them.
        before: what was asked and answered earlier in the chat, oldest first.
    """

    line: int
    image: str
    question: str
    answers: tuple[str, ...]
    kind: str
    metric: str
    phrase: str | None = None
    boxes: tuple[Box, ...] = ()
    mask: str | None = None
    ocr: bool | None = None
    evidence_only: bool | None = None
    before: tuple[tuple[str, str], ...] = ()
    captions: tuple[str, ...] = ()
    place: str = "line"


@dataclass(frozen=True)
class Skipped:
    """A line that was not scored, and why; ``line`` and ``place`` as an `Item`'s."""

    line: int
    image: str | None
    reason: str
    place: str = "line"


def read(folder: Path) -> tuple[list[Item], list[Skipped]]:
    """Every line of ``folder``/items.jsonl: the usable items, and the broken lines with their reasons.

    Raises:
        VlmDemoError: the folder or its items.jsonl is missing, unreadable or empty.
    """
    path = folder / "items.jsonl"
    if not folder.is_dir():
        raise VlmDemoError(f"There is no folder {folder}; give one that holds an items.jsonl.")
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise VlmDemoError(f"The folder {folder} holds no items.jsonl; give one that does.") from None
    except OSError as error:
        raise VlmDemoError(f"{path} can't be read ({error.strerror}); check its permissions.") from None
    items: list[Item] = []
    skipped: list[Skipped] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            skipped.append(Skipped(number, None, "the line is not JSON"))
            continue
        try:
            items.append(_item(number, record))
        except ValueError as error:
            image = record.get("image") if isinstance(record, dict) else None
            skipped.append(Skipped(number, image if isinstance(image, str) else None, str(error)))
    if not items and not skipped:
        raise VlmDemoError(f"{path} is empty; write one JSON object a line into it.")
    return items, skipped


def select(items: Iterable[Item], limit: int | None = None, pointing_only: bool = False) -> list[Item]:
    """The items to run, in the file's order and always the same ones.

    ``limit`` is shared evenly over the kinds; what a small kind cannot use goes to the others, first by name. Each
    kind's list is cut into as many equal stretches as it may give items and one is drawn from each. A fixed step
    would do, were not many sets periodic (yes, no, yes, no, ...): it could meet the same answer every time.
    """
    pool = [item for item in items if item.phrase is not None or not pointing_only]
    if limit is None or limit >= len(pool):
        return pool
    kinds: dict[str, list[Item]] = {}
    for item in pool:
        kinds.setdefault(item.kind, []).append(item)
    chosen = [item for kind, share in _shares(kinds, limit).items() for item in _spread(kinds[kind], share, kind)]
    return sorted(chosen, key=lambda item: item.line)


def leaves_folder(name: str) -> bool:
    """Whether a picture's name, as a file gives it, points outside of its folder."""
    return Path(name).is_absolute() or ".." in Path(name).parts


def _shares(kinds: dict[str, list[Item]], limit: int) -> dict[str, int]:
    shares = dict.fromkeys(sorted(kinds), 0)
    while limit > 0:
        open_kinds = [kind for kind in shares if shares[kind] < len(kinds[kind])]
        for kind in open_kinds[:limit]:
            shares[kind] += 1
        limit -= len(open_kinds[:limit])
    return shares


def _spread(items: list[Item], count: int, seed: str) -> list[Item]:
    generator = random.Random(seed)  # random() of a seeded generator is the same in every Python version
    edges = [i * len(items) // count for i in range(count + 1)] if count else []
    return [items[low + int(generator.random() * (high - low))] for low, high in zip(edges, edges[1:], strict=False)]


def _item(line: int, record: Any) -> Item:
    """The item that a line's object describes; ValueError says what is wrong with it."""
    if not isinstance(record, dict):
        raise ValueError("the line is not a JSON object")
    image, question = _text(record, "image"), _text(record, "question")
    ocr, evidence_only = _switch(record, "ocr"), _switch(record, "evidence_only")
    if "phrase" in record or "boxes" in record:
        kind = _text(record, "kind") if "kind" in record else POINTING
        phrase = _text(record, "phrase")
        boxes = _boxes(record.get("boxes"))
        mask = _text(record, "mask") if record.get("mask") is not None else None
        return Item(line, image, question, (phrase,), kind, "exact", phrase, boxes, mask, ocr, evidence_only)
    kind = _text(record, "kind")
    before = _before(record.get("before", []))
    captions = _captions(record.get("captions", []))
    if captions:
        metric, answers = "exact", captions
    else:
        metric, answers = _text(record, "metric"), _answers(record)
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}; known are {', '.join(METRICS)}")
        if not any(fits(metric, answer) for answer in answers):
            raise ValueError(f"the answer {answers[0]!r} is no {metric}")
    item = Item(line, image, question, answers, kind, metric, ocr=ocr, evidence_only=evidence_only)
    return replace(item, before=before, captions=captions)


def _text(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"the field {name!r} is missing or no text")
    return value


def _switch(record: dict[str, Any], name: str) -> bool | None:
    value = record.get(name)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"the field {name!r} is neither true nor false")
    return value


def _before(turns: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise ValueError("the field 'before' is no list of objects with a question and an answer")
    return tuple((_text(turn, "question"), _text(turn, "answer")) for turn in turns)


def _captions(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
        raise ValueError("the field 'captions' is no list of texts")
    return tuple(value)


def _answers(record: dict[str, Any]) -> tuple[str, ...]:
    """The right answers: ``answer``, then ``accepted``, each once."""

    def is_valid(answers: list[Any]) -> bool:
        return all(isinstance(one, (str, int, float)) and not isinstance(one, bool) for one in answers)

    value, further = record.get("answer"), record.get("accepted", [])
    answers = value if isinstance(value, list) else [value]
    if not answers or not is_valid(answers):
        raise ValueError("the field 'answer' is missing or neither text, number nor a list of them")
    if not isinstance(further, list) or not is_valid(further):
        raise ValueError("the field 'accepted' is no list of texts or numbers")
    return tuple(dict.fromkeys(str(one) for one in (*answers, *further)))


def _boxes(value: Any) -> tuple[Box, ...]:
    def is_valid(box: Any) -> bool:
        if not isinstance(box, list) or len(box) != 4:
            return False
        if not all(type(edge) in (int, float) and math.isfinite(edge) for edge in box):
            return False
        return box[0] < box[2] and box[1] < box[3]

    if not isinstance(value, list) or not value or not all(map(is_valid, value)):
        raise ValueError("the field 'boxes' is missing or no list of [x0, y0, x1, y1] with x0 < x1 and y0 < y1")
    return tuple((box[0], box[1], box[2], box[3]) for box in value)
