"""Results: what the experiments found on the shipped model → figures to be drawn. Reads the files that
``python -m vlm_demo experiment NAME --json`` wrote; measures nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from vlm_demo.intervals import wilson
from vlm_demo.shipped import folder

WIDTH, HEIGHT = 480, 200  # of a chart of lines, in its own units
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 12, 28  # its margins
LINES = (("pixels alone", "accent"), ("OCR alone", "ocr"), ("both", "question"))  # a way, and the theme's colour of it


@dataclass(frozen=True)
class FigureBar:
    """A figure on one common scale.

    Attributes:
        label: what it is of.
        shown: it, as people read it.
        start, end: of the bar, percent of the scale.
        low, high: of its 95 % interval, percent of the scale; None = it has none.
    """

    label: str
    shown: str
    start: float
    end: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name, colour (of the theme) and points, ``x,y`` in the chart's units."""

    name: str
    colour: str
    points: str


@dataclass(frozen=True)
class Finding:
    """What one experiment found.

    Attributes:
        sentence: in one sentence, as the command wrote it.
        bars: figures, the ones above each other comparable.
        note: what the bars are shares of.
        zero: where zero lies on the bars' scale, percent.
        lines, ticks: a chart of shares over heights, and (x, label) of its axis; empty where there is none.
    """

    sentence: str
    bars: tuple[FigureBar, ...] = ()
    note: str = ""
    zero: float = 0.0
    lines: tuple[Line, ...] = ()
    ticks: tuple[tuple[float, str], ...] = ()


def of(name: str) -> Finding | None:
    """What an experiment found; None where it was not run for what is shipped."""
    told = _read(name)
    return DRAWN[name](told) if told else None


@cache
def _read(name: str) -> Mapping[str, Any] | None:
    try:
        return json.loads((folder("experiments") / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def wrong(told: Mapping[str, Any]) -> Finding:
    """How sure right and wrong answers are, and what tells them apart."""
    names = {
        "confidence": "its probability",
        "same_on_blank": "the same about a grey picture",
        "unknown_with_rule": "unknown with the rule",
    }
    bars = []
    for entry, name in names.items():
        for group in ("right", "wrong"):
            if own := told[group]:
                interval = None if entry == "confidence" else wilson(round(own[entry] * own["n"]), own["n"])
                bars.append(_share(f"{name}, {own['n']} {group} answers", own[entry], interval))
    return Finding(told["sentence"], tuple(bars), "Shares of the answers; of the probability the mean.")


def ocr(told: Mapping[str, Any]) -> Finding:
    """What is read of each height: from the pixels, by OCR, and by both."""
    heights = [int(height) for height in told["shares"][LINES[0][0]]]
    low, high = math.log(heights[0]), math.log(heights[-1])

    def x(height: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (math.log(height) - low) / (high - low), 1)

    def y(share: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - share), 1)

    lines = tuple(
        Line(
            way,
            colour,
            " ".join(f"{x(height)},{y(told['shares'][way][str(height)])}" for height in heights),
        )
        for way, colour in LINES
    )
    return Finding(told["sentence"], lines=lines, ticks=tuple((x(height), str(height)) for height in heights))


def bigger(told: Mapping[str, Any]) -> Finding:
    """What each choice of the recipe brings."""
    edge = 100 * max(0.05, *(abs(gain[end]) for gain in told["gains"] for end in ("low", "high")))

    def place(points: float) -> float:
        return round(50 + 50 * points / edge, 1)

    bars = []
    for gain in told["gains"]:
        mean, low, high = (100 * gain[entry] for entry in ("mean", "low", "high"))
        start, end = sorted((50.0, place(mean)))
        label = f"{gain['have']} instead of {gain['lack']}"
        bars.append(FigureBar(label, f"{mean:+.0f} ({low:+.0f} to {high:+.0f})", start, end, place(low), place(high)))
    asked = told["variants"][0]
    note = f"Points of {asked['n']} questions, with 95 % intervals; {asked['steps']} steps of training each."
    return Finding(told["sentence"], tuple(bars), note, 50.0)


def orders(told: Mapping[str, Any]) -> Finding:
    """What was answered about pictures that give orders."""
    n = told["asked"]
    bars = [
        _share(f"{outcome}, {way}", count / n, wilson(count, n))
        for outcome in next(iter(told["counts"].values()))
        for way, count in ((way, own[outcome]) for way, own in told["counts"].items())
    ]
    return Finding(told["sentence"], tuple(bars), f"Shares of {n} answers each.")


DRAWN = {"wrong": wrong, "ocr": ocr, "bigger": bigger, "orders": orders}


def _share(label: str, share: float, interval: tuple[float, float] | None) -> FigureBar:
    low, high = (None, None) if interval is None else (round(100 * own, 1) for own in interval)
    shown = f"{share:.2f}" if interval is None else f"{share:.0%} ({low:.0f}–{high:.0f})"
    return FigureBar(label, shown, 0.0, round(100 * share, 1), low, high)
