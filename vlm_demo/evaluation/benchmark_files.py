"""Benchmark files: the questions of ChartQA, DocVQA and TextVQA, in the files that their authors publish → items.

Each file is one JSON value; the pictures lie in a folder, under the names that the benchmark has for them. Opens no
picture.

- ChartQA (Masry et al. 2022): [{"imgname", "query", "label"}, ...], pictures in ``png/``.
- DocVQA (Mathew et al. 2021): {"data": [{"question", "image", "answers"}, ...]}, ``image`` relative to the folder.
- TextVQA (Singh et al. 2019): {"data": [{"question", "image_id", "answers"}, ...]}, pictures
  ``train_images/<image_id>.jpg``; ten answers, one a person.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_demo.errors import VlmDemoError
from vlm_demo.evaluation.items import Item, Skipped, leaves_folder

PEOPLE = 10  # who answered each question of TextVQA

Parsed = tuple[str, str, tuple[str, ...]]  # picture's path, question, answers


@dataclass(frozen=True)
class Benchmark:
    """How one benchmark's files are read, and how an answer is scored.

    Attributes:
        name: as its authors write it.
        metric: a key of `benchmark_scores.SCORES`.
        fields: what each question holds, for the reader of an error.
        listed: whether the file is the list of questions itself, and not an object whose ``data`` is.
        parse: one question's object → its picture, question and answers; ValueError says what is wrong with it.
    """

    name: str
    metric: str
    fields: str
    listed: bool
    parse: Callable[[dict[str, Any]], Parsed]


def read(benchmark: Benchmark, file: Path, folder: Path) -> tuple[list[Item], list[Skipped]]:
    """The questions of one file, and the entries that are none; an entry's number counts from 1.

    Args:
        benchmark: one of ``BENCHMARKS``.
        file: its file of questions.
        folder: holds the pictures under the benchmark's own names.
    Raises:
        VlmDemoError: the file can't be read, is no file of this benchmark or holds no question, or the folder holds
            none of the folders that its pictures lie in.
    """
    place = f"{file.name}, entry"
    items: list[Item] = []
    skipped: list[Skipped] = []
    for number, record in enumerate(_entries(benchmark, file), start=1):
        try:
            if not isinstance(record, dict):
                raise ValueError("it is no JSON object")
            image, question, answers = benchmark.parse(record)
        except ValueError as error:
            skipped.append(Skipped(number, None, str(error), place))
            continue
        kind = f"{benchmark.name.lower()} {file.stem}"
        items.append(Item(number, image, question, answers, kind, benchmark.metric, place=place))
    if not items:
        first_reason = f"; entry 1: {skipped[0].reason}" if skipped else ""
        raise VlmDemoError(
            f"{file} holds no question of {benchmark.name} with its answer (each has {benchmark.fields}){first_reason}."
        )
    parents = sorted({str(Path(item.image).parent) for item in items})
    if not any((folder / parent).is_dir() for parent in parents):
        raise VlmDemoError(f"{folder} holds no folder {parents[0]}; give the one that {benchmark.name}'s lies in.")
    return items, skipped


def _entries(benchmark: Benchmark, file: Path) -> list[Any]:
    try:
        data = json.loads(file.read_bytes())
    except OSError as error:
        raise VlmDemoError(f"{file} can't be read ({error.strerror}): give a file of {benchmark.name}.") from None
    except (ValueError, RecursionError):
        raise VlmDemoError(f"{file} is no JSON: give a file of {benchmark.name} as it was published.") from None
    entries = data if benchmark.listed else data.get("data") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        expected = "a list" if benchmark.listed else 'an object whose "data" is a list'
        raise VlmDemoError(f"{file} is no file of {benchmark.name}, which is {expected} of questions.")
    return entries


def _chartqa(record: dict[str, Any]) -> Parsed:
    return f"png/{_picture(record, 'imgname')}", _text(record, "query"), (_answer(record.get("label"), "label"),)


def _docvqa(record: dict[str, Any]) -> Parsed:
    answers = record.get("answers")
    if not isinstance(answers, list) or not answers:
        raise ValueError("the field 'answers' is missing or no list")
    return _picture(record, "image"), _text(record, "question"), tuple(_answer(answer, "answers") for answer in answers)


def _textvqa(record: dict[str, Any]) -> Parsed:
    answers = record.get("answers")
    if (
        not isinstance(answers, list)
        or len(answers) != PEOPLE
        or not all(isinstance(answer, str) for answer in answers)
    ):
        raise ValueError(f"the field 'answers' is missing or no list of {PEOPLE} texts")
    if not any(answer.strip() for answer in answers) or not all(map(_writable, answers)):
        raise ValueError("the field 'answers' holds no text")
    return f"train_images/{_picture(record, 'image_id')}.jpg", _text(record, "question"), tuple(answers)


CHARTQA = Benchmark("ChartQA", "relaxed_accuracy", "imgname, query and label", True, _chartqa)
DOCVQA = Benchmark("DocVQA", "anls", "question, image and answers", False, _docvqa)
TEXTVQA = Benchmark("TextVQA", "vqa_accuracy", "question, image_id and ten answers", False, _textvqa)
BENCHMARKS = (CHARTQA, DOCVQA, TEXTVQA)


def _text(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value.strip() or not _writable(value):
        raise ValueError(f"the field {name!r} is missing or no text")
    return value


def _picture(record: dict[str, Any], name: str) -> str:
    value = _text(record, name)
    if leaves_folder(value):
        raise ValueError(f"the picture {value!r} does not lie in the folder")
    return value


def _answer(value: Any, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"the field {name!r} is missing or holds neither text nor number")
    text = str(value)
    if not text.strip() or not _writable(text):
        raise ValueError(f"the field {name!r} holds no text")
    return text


def _writable(text: str) -> bool:
    """Whether a text is Unicode throughout: JSON can contain half of a surrogate pair, which no file can hold."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
