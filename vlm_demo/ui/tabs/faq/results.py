"""Results: the experiments' figures on the shipped model → what is drawn. Reads the files that
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
        shown: its formatted value.
        start, end: of the bar, percent of the scale.
        low, high: of its 95 % interval, percent of the scale; None = none.
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
        sentence: as the command wrote it.
        bars: figures on one common scale.
        note: what the bars are shares of.
        zero: the position of zero on the bars' scale, percent.
        lines, ticks: a chart of shares over heights, and (x, label) of its axis; empty where there is none.
    """

    sentence: str
    bars: tuple[FigureBar, ...] = ()
    note: str = ""
    zero: float = 0.0
    lines: tuple[Line, ...] = ()
    ticks: tuple[tuple[float, str], ...] = ()


def of(name: str) -> Finding | None:
    """An experiment's findings; None where it was not run for the shipped model."""
    data = _read(name)
    return DRAWN[name](data) if data else None


@cache
def _read(name: str) -> Mapping[str, Any] | None:
    try:
        return json.loads((folder("experiments") / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def wrong(data: Mapping[str, Any]) -> Finding:
    """The confidence of right and wrong answers, and what separates them."""
    names = {
        "confidence": "its probability",
        "same_on_blank": "the same about a grey picture",
        "unknown_with_rule": "unknown with the rule",
    }
    bars = []
    for entry, name in names.items():
        for group in ("right", "wrong"):
            if group_figures := data[group]:
                interval = (
                    None
                    if entry == "confidence"
                    else wilson(round(group_figures[entry] * group_figures["n"]), group_figures["n"])
                )
                bars.append(_share(f"{name}, {group_figures['n']} {group} answers", group_figures[entry], interval))
    return Finding(data["sentence"], tuple(bars), "Shares of the answers; of the probability the mean.")


def ocr(data: Mapping[str, Any]) -> Finding:
    """The share of words read at each height: from the pixels, by OCR, and by both."""
    heights = [int(height) for height in data["shares"][LINES[0][0]]]
    low, high = math.log(heights[0]), math.log(heights[-1])

    def x(height: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (math.log(height) - low) / (high - low), 1)

    def y(share: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - share), 1)

    lines = tuple(
        Line(
            way,
            colour,
            " ".join(f"{x(height)},{y(data['shares'][way][str(height)])}" for height in heights),
        )
        for way, colour in LINES
    )
    return Finding(data["sentence"], lines=lines, ticks=tuple((x(height), str(height)) for height in heights))


def bigger(data: Mapping[str, Any]) -> Finding:
    """The gain of each choice of the recipe."""
    edge = 100 * max(0.05, *(abs(gain[end]) for gain in data["gains"] for end in ("low", "high")))

    def place(points: float) -> float:
        return round(50 + 50 * points / edge, 1)

    bars = []
    for gain in data["gains"]:
        mean, low, high = (100 * gain[entry] for entry in ("mean", "low", "high"))
        start, end = sorted((50.0, place(mean)))
        label = f"{gain['have']} instead of {gain['lack']}"
        bars.append(FigureBar(label, f"{mean:+.0f} ({low:+.0f} to {high:+.0f})", start, end, place(low), place(high)))
    first = data["variants"][0]
    note = f"Points of {first['n']} questions, with 95 % intervals; {first['steps']} steps of training each."
    return Finding(data["sentence"], tuple(bars), note, 50.0)


def orders(data: Mapping[str, Any]) -> Finding:
    """The answers about pictures that contain instructions."""
    n = data["asked"]
    bars = [
        _share(f"{outcome}, {way}", count / n, wilson(count, n))
        for outcome in next(iter(data["counts"].values()))
        for way, count in ((way, counts[outcome]) for way, counts in data["counts"].items())
    ]
    return Finding(data["sentence"], tuple(bars), f"Shares of {n} answers each.")


DRAWN = {"wrong": wrong, "ocr": ocr, "bigger": bigger, "orders": orders}


def _share(label: str, share: float, interval: tuple[float, float] | None) -> FigureBar:
    low, high = (None, None) if interval is None else (round(100 * bound, 1) for bound in interval)
    shown = f"{share:.2f}" if interval is None else f"{share:.0%} ({low:.0f}–{high:.0f})"
    return FigureBar(label, shown, 0.0, round(100 * share, 1), low, high)
