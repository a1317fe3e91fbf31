"""Chart plotter: draws a chart with matplotlib, and reads its marks' outlines from matplotlib's own transforms."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from vlm_demo.training.worlds.chart_data import ROUND, Chart
from vlm_demo.training.worlds.chart_marks import Frame, Mark, as_picture, bars
from vlm_demo.training.worlds.chart_sheet import Printed, stroke
from vlm_demo.training.worlds.world import Picture

TRAINED_STYLE = "default"
HELD_OUT_STYLES = ("ggplot", "seaborn-v0_8-whitegrid", "seaborn-v0_8-darkgrid", "bmh", "fivethirtyeight")
HELD_OUT_DARK = "dark_background"
_HELD_OUT_FAMILIES = ("DejaVu Serif", "STIXGeneral")
_DPI = 100


def plot(chart: Chart, size: tuple[int, int], rng: np.random.Generator, held_out: bool) -> Picture:
    """The chart in the trained style, or in one that training never sees."""
    pixels = float(np.clip(min(size) * rng.uniform(0.035, 0.05), 9, 18))
    if chart.legend and max(len(name) for name, _ in chart.entries) * pixels * 0.65 + pixels * 4 > size[0] * 0.4:
        chart = replace(chart, legend=False)
    if chart.shown and chart.kind in ("bar", "grouped"):
        chart = replace(chart, high=chart.high + (chart.high - chart.low) * 0.06)
    dark = sum(chart.back) < 300
    style = TRAINED_STYLE
    if held_out:
        style = HELD_OUT_DARK if dark else str(rng.choice(HELD_OUT_STYLES))
    points = pixels * 72 / _DPI
    sized = ("font", "axes.label", "xtick.label", "ytick.label", "legend.font", "legend.title_font")
    settings: dict[str, Any] = {f"{part}{'.size' if part == 'font' else 'size'}": points for part in sized}
    settings |= {"figure.dpi": _DPI, "axes.titlesize": points * 1.25}
    settings["font.family"] = str(rng.choice(_HELD_OUT_FAMILIES)) if held_out else "DejaVu Sans"
    if not held_out:
        paper, ink = (tuple(v / 255 for v in rgb) for rgb in (chart.back, chart.ink))
        settings |= dict.fromkeys(("figure.facecolor", "axes.facecolor"), paper)
        settings |= dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), ink
        )
    with matplotlib.style.context([style, settings]):
        return Plotter(chart, size, pixels, rng).picture()


class Plotter:
    """Draws one chart; the artists are kept until matplotlib has laid them out, and only then measured."""

    def __init__(self, chart: Chart, size: tuple[int, int], pixels: float, rng: np.random.Generator) -> None:
        self.chart, self.size, self.pixels, self.rng = chart, size, pixels, rng
        self.figure = Figure(figsize=(size[0] / _DPI, size[1] / _DPI), dpi=_DPI, layout="tight")
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_subplot()
        self.artists: list[tuple[int, int, Any, str]] = []
        self.ticks: list[float] = []

    def picture(self) -> Picture:
        """The finished picture."""
        chart = self.chart
        if chart.kind in ROUND:
            self.slices()
        else:
            {"line": self.lines, "scatter": self.points}.get(chart.kind, self.bars)()
            self.furnish()
        if chart.title:
            self.axes.set_title(chart.title)
        if chart.legend:
            self.legend()
        self.canvas.draw()
        image = Image.fromarray(np.ascontiguousarray(np.asarray(self.canvas.buffer_rgba())[..., :3]))
        marks = [Mark(i, j, self.outline(artist), printed) for i, j, artist, printed in self.artists]
        if chart.kind == "scatter":
            marks = [mark for i, _, artist, _ in self.artists for mark in self.discs(i, artist)]
        box = self.axes.bbox
        length = (
            min(box.width, box.height) * math.pi if chart.kind in ROUND else box.width if chart.lying else box.height
        )
        return as_picture(chart, image, marks, self.printed(), float(length), self.ticks)

    def colour(self, i: int, j: int = 0) -> tuple[float, float, float]:
        """A mark's colour in matplotlib's scale."""
        r, g, b = self.chart.rgb[i][j]
        return r / 255, g / 255, b / 255

    def bars(self) -> None:
        """Bars with their values."""
        chart = self.chart
        for i, j, start, stop, base, end in bars(Frame(0, 0, 1, 1, chart), self.rng.uniform(0.5, 0.9)):
            draw = self.axes.barh if chart.lying else self.axes.bar
            (bar,) = draw([(start + stop) / 2], [end - base], stop - start, [base], color=[self.colour(i, j)])
            printed = self.value((start + stop) / 2, base, end) if chart.shown else ""
            self.artists.append((i, j, bar, printed))

    def value(self, along: float, base: float, end: float) -> str:
        """Prints a bar's value at its end, or inside a part of a stack; returns it, or "" where there is no room."""
        chart = self.chart
        words, lying, inside = chart.printed(end - base), chart.lying, chart.kind == "stacked"
        shares = len(chart.labels) * (len(chart.series) if chart.kind == "grouped" else 1)
        thick = self.size[1 if lying else 0] * 0.65 / shares
        long = abs(end - base) / (chart.high - chart.low) * self.size[0 if lying else 1] * 0.6
        wide, high = self.pixels * 0.65 * len(words), self.pixels
        if thick < (high if lying else wide) or (inside and long < 1.4 * (wide if lying else high)):
            return ""
        at = (along, (base + end) / 2 if inside else end)
        side = 0 if inside else 1 if end > 0 else -1
        if lying:
            shift, across, down = (2 * side, 0), ("center", "left", "right")[side], "center"
        else:
            shift, across, down = (0, 2 * side), "center", ("center", "bottom", "top")[side]
        self.axes.annotate(
            words, at[::-1] if lying else at, xytext=shift, textcoords="offset points", ha=across, va=down
        )  # fmt: skip
        return words

    def lines(self) -> None:
        """Lines through the middles of the labels' slots."""
        places = (np.arange(len(self.chart.labels)) + 0.5) / len(self.chart.labels)
        marker = str(self.rng.choice(["", "", "o"]))
        for i, row in enumerate(self.chart.values):
            (line,) = self.axes.plot(places, row, color=self.colour(i), marker=marker)
            self.artists.append((i, -1, line, ""))

    def points(self) -> None:
        """A scatter plot's points, a series at a time."""
        for i, row in enumerate(self.chart.values):
            places = self.chart.across[i] / 100
            (dots,) = self.axes.plot(
                places, row, "o", color=self.colour(i), markersize=self.pixels * 0.45, clip_on=False
            )
            self.artists.append((i, -1, dots, ""))

    def slices(self) -> None:
        """A pie, or a donut, with the shares in its larger slices."""
        chart = self.chart
        donut = chart.kind == "donut"
        words = [f"{share * 100:.0f}%" for share in chart.values[0] / chart.values[0].sum()]
        made = self.axes.pie(
            chart.values[0], labels=None if chart.legend else chart.labels,
            colors=[self.colour(0, j) for j in range(len(words))],
            autopct="%.0f%%" if chart.shown else None, pctdistance=0.78 if donut else 0.65,
            startangle=float(self.rng.choice([0, 90])), counterclock=bool(self.rng.random() < 0.5),
            wedgeprops={"width": self.rng.uniform(0.35, 0.5)} if donut else None, normalize=True,
        )  # fmt: skip
        small = chart.values[0] / chart.values[0].sum() < 0.07
        for j, wedge in enumerate(made[0]):
            if chart.shown:
                made[2][j].set_text("" if small[j] else words[j])
            self.artists.append((0, j, wedge, words[j] if chart.shown and not small[j] else ""))

    def furnish(self) -> None:
        """Limits, ticks, labels and axis titles."""
        chart, axes = self.chart, self.axes
        apart = self.size[0 if chart.lying else 1] * 0.6 * chart.step / (chart.high - chart.low)
        widest = max((len(chart.written(tick)) for tick in chart.ticks), default=1)
        needed = self.pixels * (0.7 * widest + 0.5 if chart.lying else 1.3)
        self.ticks = chart.ticks[:: max(1, math.ceil(needed / apart))]
        places = [(j + 0.5) / len(chart.labels) for j in range(len(chart.labels))]
        written = [chart.written(tick) for tick in self.ticks]
        if self.rng.random() < 0.25:
            axes.grid(True, axis="x" if chart.lying else "y")
            axes.set_axisbelow(True)
        if chart.lying:
            axes.set(xlim=(chart.low, chart.high), ylim=(1, 0), xlabel=chart.value_title, ylabel=chart.label_title)
            axes.set_xticks(self.ticks, written)
            axes.set_yticks(places, chart.labels)
            return
        axes.set(ylim=(chart.low, chart.high), xlim=(0, 1), xlabel=chart.label_title, ylabel=chart.value_title)
        axes.set_yticks(self.ticks, written)
        if chart.kind == "scatter":
            axes.set_xticks([0, 0.5, 1], ["0", "50", "100"])
            return
        slot = self.size[0] * (0.6 if chart.legend else 0.75) / len(places)
        wide = max(map(len, chart.labels)) * self.pixels * 0.65
        turn = 0 if wide < slot else 90 if slot < self.pixels * 2 else 45
        axes.set_xticks(places, chart.labels, rotation=turn, ha="right" if turn == 45 else "center")

    def legend(self) -> None:
        """One that explains the colours, beside the axes."""
        handles: dict[int, Any] = {}
        for i, j, artist, _ in self.artists:
            handles.setdefault(j if self.chart.kind in ROUND else i, artist)
        names = [name for name, _ in self.chart.entries]
        self.axes.legend(
            [handles[k] for k in range(len(names))], names, title=self.chart.legend_title or None,
            loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=bool(self.rng.random() < 0.4),
        )  # fmt: skip

    def outline(self, artist: Any) -> np.ndarray:
        """A bar's, slice's or line's polygon in pixels of the picture."""
        if self.chart.kind in ("line", "scatter"):
            path = artist.get_transform().transform(artist.get_xydata())
            return stroke(self._down(path), max(2.0, artist.get_linewidth() * _DPI / 72))
        path = artist.get_path().transformed(artist.get_transform())
        return self._down(max(path.to_polygons(), key=len)[:-1])

    def discs(self, i: int, artist: Any) -> list[Mark]:
        """The points of one series of a scatter plot."""
        angles = np.linspace(0, 2 * math.pi, 16, endpoint=False)
        ring = np.stack([np.cos(angles), np.sin(angles)], 1) * artist.get_markersize() / 2 * _DPI / 72
        middles = self._down(artist.get_transform().transform(artist.get_xydata()))
        return [Mark(i, j, ring + middle) for j, middle in enumerate(middles)]

    def printed(self) -> list[Printed]:
        """The words that are level or run upwards, and where they stand."""
        found = []
        for text in self.figure.findobj(Text):
            if text.get_text() and text.get_visible() and text.get_rotation() in (0, 90):
                box = text.get_window_extent()
                middle = (box.x0 + box.x1) / 2, self.size[1] - (box.y0 + box.y1) / 2
                if 0 < middle[0] < self.size[0] and 0 < middle[1] < self.size[1]:
                    turned = text.get_rotation() == 90
                    high = box.height if turned else self.pixels
                    found.append(Printed(*middle, high, text.get_text(), box.width, turned))
        return found

    def _down(self, points: np.ndarray) -> np.ndarray:
        return np.stack([points[:, 0], self.size[1] - points[:, 1]], 1)
