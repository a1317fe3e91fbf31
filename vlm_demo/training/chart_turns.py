"""Chart turns: what OCR read in a chart → questions that its lines answer.

The answers are what was read, not what is true: they teach to look a value up in text, not to see a chart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from vlm_demo.training.photo_turns import TrainingTurn, pick

ROW = re.compile(r"(?P<label>\S.*?) (?P<value>-?[$€£]?\d[\d,]*(\.\d+)?%?)")  # a category and its only value
YEAR = re.compile(r"(19|20)\d\d")
LEAST_ROWS = 3
LOOKUPS = 2  # a chart
OF_A_YEAR = ("What was the value in {label}?", "How many were there in {label}?", "How much was it in {label}?",
             "What was the percentage in {label}?")  # fmt: skip
OF_A_LABEL = ("What is the value of {label}?", "What was the value for {label}?", "How much is {label}?",
              "What percentage did {label} have?")  # fmt: skip
WHICH_YEAR = ("In what year was the value {most}?", "In which year was the {most} value?")
WHICH_LABEL = ("Which one has the {most} value?", "What had the {most} value?", "Which category is the {most}?")


def chart_turns(lines: Sequence[str], rng: np.random.Generator) -> list[TrainingTurn]:
    """Lookups, and a superlative, of consecutive lines of a category and one value each; none where there are few."""
    rows = _rows(lines)
    if len(rows) < LEAST_ROWS:
        return []
    years = all(YEAR.fullmatch(label) for label, _ in rows)
    percent = any(value.endswith("%") for _, value in rows)
    questions = [text for text in (OF_A_YEAR if years else OF_A_LABEL) if percent or "percentage" not in text]
    turns = []
    for i in rng.permutation(len(rows))[:LOOKUPS]:
        label, value = rows[i]
        question = pick(questions, rng).format(label=label)
        turns.append(TrainingTurn(question, value.rstrip("%"), "chart-value"))
    most = bool(rng.random() < 0.6)
    extreme = (max if most else min)(rows, key=lambda row: _number(row[1]))
    if sum(_number(value) == _number(extreme[1]) for _, value in rows) == 1:
        choices = WHICH_YEAR if years else WHICH_LABEL
        words = ("highest", "largest") if most else ("lowest", "smallest")
        question = pick(choices, rng).format(most=pick(words, rng))
        turns.append(TrainingTurn(question, extreme[0], "chart-most"))
    return turns


def _rows(lines: Sequence[str]) -> list[tuple[str, str]]:
    """The longest run of lines that are a category and one value, with distinct categories."""
    best: list[tuple[str, str]] = []
    run: list[tuple[str, str]] = []
    for line in lines:
        found = ROW.fullmatch(line.strip())
        label = found["label"] if found else ""
        worded = any(letter.isalpha() for letter in label) or YEAR.fullmatch(label) is not None
        if found and worded and not any(letter.isdigit() for letter in YEAR.sub("", label)):
            run.append((label, found["value"]))
            best = max(best, run, key=len)
        else:
            run = []
    return list(best) if len({label for label, _ in best}) == len(best) else []


def _number(value: str) -> float:
    return float(re.sub(r"[^\d.-]", "", value))
