"""Table: a folder of pictures and a question → a CSV file, a row for each picture as soon as it is answered.

A second run continues where the first stopped. A file that can't be answered about is named and skipped.
"""

from __future__ import annotations

import csv
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from vlm_demo.errors import BadImage, VlmDemoError

COLUMNS = ("file", "question", "answer")
# What spreadsheets take for a formula, unless it is a plain number.
FORMULA = re.compile(r"[=@\t\r]|[+-](?!\d+([.,]\d+)*$)")


def pictures(folder: Path) -> list[Path]:
    """All files of a folder that are not hidden, by name; whether one is a picture shows when it is opened.

    Raises:
        VlmDemoError: there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise VlmDemoError(f"{folder} is no folder; with --csv, name a folder of pictures and one question.")
    found = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not found:
        raise VlmDemoError(f"There are no files in {folder}; put pictures into it.")
    return found


def fill(out: Path, found: list[Path], question: str, ask: Callable[[Path], str]) -> int:
    """Ask about each picture that has no row in ``out`` yet for this question.

    Args:
        out: the CSV file; rows of other questions in it are kept.
        found: the pictures.
        ask: picture → answer.
    Returns:
        How many files were skipped.
    Raises:
        VlmDemoError: ``out`` is another kind of file, or the model can't answer at all.
    """
    done = _resumed(out)
    passed = 0
    with out.open("a", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        for path in found:
            if path.resolve() == out.resolve() or (path.name, question) in done:
                continue
            try:
                answer = ask(path)
            except BadImage as error:
                print(f"{path.name}: {error}", file=sys.stderr)
                passed += 1
                continue
            rows.writerow((path.name, question, _cell(answer)))
            file.flush()
    return passed


def _resumed(out: Path) -> set[tuple[str, str]]:
    """The files and questions that ``out`` answers; a row that was being written when it was stopped is dropped.

    The file is rewritten next to the old one and replaces it, so that nothing is lost in between.
    """
    text = out.read_bytes().decode("utf-8", "replace") if out.exists() else ""
    rows = list(_rows(text)) if text else [list(COLUMNS)]
    if tuple(rows[0]) != COLUMNS:
        raise VlmDemoError(f"{out} holds something else than {', '.join(COLUMNS)}; name another file.")
    if text and not text.endswith(("\n", "\r")):
        del rows[max(1, len(rows) - 1) :]
    whole = [row for row in rows if len(row) == len(COLUMNS)]
    part = out.with_name(f".{out.name}.part")
    with part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(whole)
    os.replace(part, out)
    return {(row[0], row[1]) for row in whole[1:]}


def _rows(text: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""))
    except csv.Error as error:
        raise VlmDemoError("The CSV file is damaged; name another one.") from error


def _cell(answer: str) -> str:
    """An answer that a spreadsheet does not take for a formula: pictures can contain any text."""
    return f"'{answer}" if FORMULA.match(answer) else answer
