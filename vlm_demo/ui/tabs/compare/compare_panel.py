"""Compare: a comparison → its table as HTML. Rows are what is compared, columns the answers.

Computes what its templates show; knows no events and no model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from vlm_demo.contracts import LEVELS, Answer
from vlm_demo.contracts.geometry import inside
from vlm_demo.contracts.grounding import GREEN
from vlm_demo.errors import VlmDemoError
from vlm_demo.images.overlay import palette
from vlm_demo.ui import pictures
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.chat.transcript import SIGNS, Example
from vlm_demo.ui.tabs.compare import first_token
from vlm_demo.ui.tabs.compare.comparison import Column, Comparison
from vlm_demo.ui.tabs.compare.difference import MISSING, SAME, DiffWord
from vlm_demo.ui.tabs.inspect.map_options import MapOptions
from vlm_demo.ui.tabs.inspect.panels.html_pieces import size

WIDE = 680  # longest side of a map in a column: twice its width, for sharp screens
EMPTY = (
    "Choose what varies and ask. The first column is the reference; the others show what differs from it: words, where "
    "the model looked, the first token, time and memory."
)
# The parts of a bar of time: (key, its name, the stages in it).
PARTS = (
    ("reading", "OCR", ("ocr",)),
    ("encode", "encode", ("view", "encoder", "bridge")),
    ("prefill", "prefill", ("prompt", "prefill")),
    ("decode", "words", ("decode",)),
)


@dataclass(frozen=True)
class Bar:
    """A time or a size on the scale of all columns: its label, its ratio to the reference's, and its parts as (key,
    percent of the row's width)."""

    text: str
    detail: str
    times: str
    parts: list[tuple[str, str]]


@dataclass(frozen=True)
class MapFigure:
    """A map over its picture; ``alt``: which one, ``note``: why it can't be shown."""

    source: str
    ratio: str
    alt: str
    note: str = ""


@dataclass(frozen=True)
class Cells:
    """One column, from top to bottom.

    Attributes:
        label, remark: its head: its settings, and what answered.
        difference: how its answer differs from the reference's.
        state: why there is no answer (yet), empty where there is one; ``failed`` likewise.
        words: the answer, each word with whether it is the selected one.
        badge: (level, sign, text, sentence) of the answer's grounding.
        notes: of the answer, such as that it was cut.
    """

    label: str
    remark: str
    difference: str
    state: str
    failed: bool
    words: list[tuple[DiffWord, bool]]
    badge: tuple[str, str, str, str] | None
    notes: list[str]
    figures: list[MapFigure]
    tokens: list[first_token.Candidate]
    time: Bar | None
    memory: Bar | None


def draw(comparison: Comparison | None, options: MapOptions, examples: Sequence[Example] = ()) -> Markup:
    """The table: a row is what is compared, a column is one way of asking.

    Args:
        options: how the chat's maps are drawn; opacity and colours apply here too.
        examples: shown where nothing was compared yet.
    """
    if comparison is None:
        return render("compare_empty", sentence=EMPTY, examples=examples)
    comparison.draw_with(options.opacity, options.colormap)
    numbers = range(len(comparison.columns))
    longest = max((_total(column) for column in comparison.columns), default=0.0)
    biggest = max((_weights(column) for column in comparison.columns), default=0)
    candidates = first_token.shared([column.turn.answer for column in comparison.columns])
    peaks = [_peaks(comparison, number) for number in numbers]
    top = max((peak for row_peaks in peaks for peak in row_peaks if peak), default=0.0)
    cells = []
    for number in numbers:
        column = comparison.columns[number]
        cells.append(
            Cells(
                label=column.label,
                remark=_remark(column),
                difference=_difference(comparison, number),
                state=_state(comparison, number),
                failed=column.turn.state == "failed",
                words=_words(comparison, number),
                badge=_badge(column.turn),
                notes=_notes(column.turn),
                figures=_figures(comparison, number, [peak / top if top else 1.0 for peak in peaks[number]], options),
                tokens=first_token.of(column.turn.answer, candidates),
                time=_time(column, comparison.reference, longest),
                memory=_memory(column, comparison.reference, biggest),
            )
        )
    shown, index = comparison.word
    words = comparison.columns[shown].words
    read = any(column.turn.ocr for column in comparison.columns)
    return render(
        "compare",
        question=comparison.question,
        drawn=time.monotonic_ns(),
        columns=list(enumerate(cells)),
        word=words[index] if index < len(words) else "",
        first=index == 0,
        last=index >= len(words) - 1,
        candidates=candidates,
        keys=[(key, name) for key, name, _ in PARTS if key != "reading" or read],
        stops=", ".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in palette(options.colormap)[:: 255 // 5]),
        top=f"{top:.1f}" if top else "",
    )


def _remark(column: Column) -> str:
    """What answered, as far as its label does not say so."""
    turn = column.turn
    name = turn.model.rpartition("/")[2]
    parts = [name if name not in column.label else "", turn.precision]
    parts += ["OCR" if turn.ocr and "OCR" not in column.label else ""]
    parts += ["evidence only" if turn.evidence_only and "only" not in column.label else ""]
    return ", ".join(filter(None, parts))


def _difference(comparison: Comparison, number: int) -> str:
    if number == 0:
        return "the reference"
    difference = comparison.difference(number)
    return difference.summary if difference else ""


def _state(comparison: Comparison, number: int) -> str:
    column = comparison.columns[number]
    if column.turn.answer:
        return ""
    if column.loading:
        return "Loading the model"
    if column.turn.state == "failed":
        return column.turn.problem
    states = {"waiting": "Waits for its turn", "running": "Is being answered", "stopped": "Stopped"}
    return states.get(column.turn.state, "")


def _words(comparison: Comparison, number: int) -> list[tuple[DiffWord, bool]]:
    """A column's answer with its differences from the reference's, and which word is selected."""
    difference, words = comparison.difference(number), comparison.columns[number].words
    pieces = difference.pieces if difference else [DiffWord(SAME, text, i) for i, text in enumerate(words)]
    shown = comparison.word_in(number)
    return [(piece, piece.kind != MISSING and piece.index == shown) for piece in pieces]


def _badge(turn: ChatTurn) -> tuple[str, str, str, str] | None:
    """What the answer is grounded in. For out-of-distribution pictures no badge claims that it is grounded."""
    found = turn.grounding
    if found is None or turn.outside and found.level in GREEN:
        return None
    level = found.level
    return level.replace(" ", "-"), SIGNS.get(level, "○"), LEVELS.get(level, level).lower(), found.sentence


def _notes(turn: ChatTurn) -> list[str]:
    notes = []
    if turn.state == "stopped" and turn.answer:
        notes.append("stopped")
    if turn.answer and turn.answer.shortened:
        notes.append(turn.answer.shortened)
    if turn.answer and turn.ocr:
        found = any(result.words for result in turn.answer.ocrs)
        notes.append("text read" if found else "no text found")
    return notes


def _peaks(comparison: Comparison, number: int) -> list[float]:
    """For each picture of a column, the weight of its map's hottest patch relative to a uniform map; 0 where unknown.
    On this scale maps of different grids can be compared."""
    column, index = comparison.columns[number], comparison.word_in(number)
    answer = column.turn.answer
    if answer is None:
        return []
    if index is None:
        return [0.0] * len(answer.views)
    return [_peak(answer, index, picture) for picture in range(len(answer.views))]


def _peak(answer: Answer, index: int, picture: int) -> float:
    try:
        cells = answer.cells(answer.words[index], picture)
    except VlmDemoError:
        return 0.0
    cells = cells[inside(answer.views[picture])].astype(np.float64)
    if not len(cells) or cells.min() < 0 or not cells.sum() > 0:
        return 0.0
    return float(cells.max() * len(cells) / cells.sum())


def _figures(comparison: Comparison, number: int, scales: Sequence[float], options: MapOptions) -> list[MapFigure]:
    """A column's maps of the selected word, each in the colours of its ``scales``: its peak as a share of the highest
    of all columns."""
    column, index = comparison.columns[number], comparison.word_in(number)
    answer = column.turn.answer
    if answer is None:
        return []
    figures = []
    for picture, view in enumerate(answer.views):
        word, note = ("" if index is None else answer.words[index].text), ""
        heat = None
        if index is None:
            note = "Nothing stands in this word’s place here."
        else:
            try:
                heat = answer.heatmap(answer.words[index], image=picture) * (scales[picture] or 1.0)
            except VlmDemoError as error:
                note = str(error)
        key = (number, picture)
        if key not in comparison.figures:
            plain = MapOptions(opacity=options.opacity, colormap=options.colormap)
            drawn = view.image if heat is None else pictures.overlay(heat, view, plain)
            comparison.figures[key] = pictures.data_uri(pictures.shrunk(drawn, WIDE))
        alt = f"Where {column.label} looked for “{word}”" if heat is not None else f"The picture, {column.label}"
        figures.append(MapFigure(comparison.figures[key], f"{view.size[0] / view.size[1]:.4f}", alt, note))
    return figures


def _total(column: Column) -> float:
    return column.turn.answer.timings.total if column.turn.answer else 0.0


def _weights(column: Column) -> int:
    return column.turn.answer.memory.parameter_bytes if column.turn.answer else 0


def _time(column: Column, reference: Column, longest: float) -> Bar | None:
    if not column.turn.answer:
        return None
    timings = column.turn.answer.timings
    parts = []
    for key, _, stages in PARTS:
        seconds = sum(getattr(timings, stage) for stage in stages)
        if seconds:
            parts.append((key, f"{100 * seconds / longest:.2f}" if longest else "0"))
    detail = f"first word {timings.first_token:.2f} s"
    return Bar(f"{timings.total:.2f} s", detail, _times(column, reference, timings.total, _total(reference)), parts)


def _memory(column: Column, reference: Column, biggest: int) -> Bar | None:
    weights = _weights(column)
    if not weights:
        return None
    parts = [("prefill", f"{100 * weights / biggest:.2f}")]
    return Bar(size(weights), "weights", _times(column, reference, weights, _weights(reference)), parts)


def _times(column: Column, reference: Column, value: float, first: float) -> str:
    """Its ratio to the reference's."""
    return f"{value / first:.2f} ×" if column is not reference and first else ""
