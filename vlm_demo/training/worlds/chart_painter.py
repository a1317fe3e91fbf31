"""Chart painter: lays a chart out and draws it with PIL, in one of two manners.

``plain`` draws hard edges as a simple program would; ``vector`` imitates vector graphics: soft edges, thin axes with
tick marks, small type, turned labels, rounded bars.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from vlm_demo.training.worlds.chart_data import ROUND, Chart, Rgb
from vlm_demo.training.worlds.chart_marks import Frame, Mark, as_picture, bars, wedges
from vlm_demo.training.worlds.chart_sheet import Sheet, stroke
from vlm_demo.training.worlds.fonts import FAMILIES
from vlm_demo.training.worlds.world import Picture


@dataclass(frozen=True)
class Style:
    """How a chart looks; ``scale`` as in `Sheet`, ``turn`` of the labels in degrees, the others as they are named."""

    scale: int
    family: str
    size: int
    grid: bool
    axis: bool
    tick_marks: bool
    ticks: bool
    boxed: bool
    panel: Rgb | None
    edge: Rgb | None
    thick: float
    corner: float
    turn: int
    legend_at: str
    swatch: str
    title_left: bool
    bold: bool
    value_title_above: bool
    pen: float
    dots: bool
    hole: float
    start: float
    clockwise: bool
    outside: bool
    percent: bool


def plain(chart: Chart, size: tuple[int, int], rng: np.random.Generator) -> Style:
    """Hard edges, large type, few marks at the axes."""
    type_size = int(np.clip(min(size) * rng.uniform(0.04, 0.06), 9, 22))
    return replace(
        _style(chart, rng), scale=1, size=type_size, family=str(rng.choice(list(FAMILIES))),
        tick_marks=rng.random() < 0.15, ticks=rng.random() < 0.85, thick=rng.uniform(0.5, 0.95),
        edge=chart.ink if rng.random() < 0.18 else None, legend_at=str(rng.choice(["right", "bottom", "top"])),
    )  # fmt: skip


def vector(chart: Chart, size: tuple[int, int], rng: np.random.Generator) -> Style:
    """Soft edges, small type, thin axes."""
    scale = 3 if max(size) < 420 else 2
    type_size = int(np.clip(min(size) * rng.uniform(0.026, 0.045), 8, 15))
    style = replace(
        _style(chart, rng), scale=scale, size=type_size, family="sans" if rng.random() < 0.8 else "times",
        tick_marks=rng.random() < 0.7, thick=float(rng.choice([0.95, 0.9, 0.8, 0.6])), edge=None,
        corner=float(rng.choice([0, 0, 0, 0.2])), turn=int(rng.choice([0, 0, 0, 0, 90, 45])),
        legend_at="right" if rng.random() < 0.75 else "bottom", boxed=rng.random() < 0.4,
    )  # fmt: skip
    if rng.random() < 0.15:
        shade = 1 if sum(chart.back) < 300 else -1
        r, g, b = (int(np.clip(v + shade * 20, 0, 255)) for v in chart.back)
        style = replace(style, panel=(r, g, b), grid=True, axis=False)
    return style


def _style(chart: Chart, rng: np.random.Generator) -> Style:
    return Style(
        scale=1, family="sans", size=12, grid=rng.random() < 0.5, axis=rng.random() < 0.9, tick_marks=False,
        ticks=True, boxed=rng.random() < 0.08, panel=None, edge=None, thick=0.8, corner=0.0, turn=0,
        legend_at="right", swatch=str(rng.choice(["square", "disc"])), title_left=rng.random() < 0.2,
        bold=rng.random() < 0.4, value_title_above=rng.random() < 0.3, pen=rng.uniform(1.4, 3.2),
        dots=rng.random() < 0.35, hole=rng.uniform(0.4, 0.65) if chart.kind == "donut" else 0.0,
        start=-math.pi / 2 if rng.random() < 0.7 else rng.uniform(0, 6), clockwise=rng.random() < 0.8,
        outside=not chart.legend, percent=rng.random() < 0.6,
    )  # fmt: skip


def paint(chart: Chart, size: tuple[int, int], style: Style) -> Picture:
    """The chart in this style."""
    return Painter(chart, size, style).picture()


class Painter:
    """Draws one chart: what stands around the axes from the outside inwards, then the axes, then the marks."""

    def __init__(self, chart: Chart, size: tuple[int, int], style: Style) -> None:
        self.chart, self.style = chart, style
        self.sheet = Sheet(size, chart.back, style.scale)
        self.marks: list[Mark] = []
        self.ticks: list[float] = []
        pad = style.size * 0.7
        self.left, self.top, self.right, self.bottom = pad, pad, size[0] - pad, size[1] - pad

    def picture(self) -> Picture:
        """The finished picture."""
        self.title()
        if self.chart.legend:
            self.legend()
        length = self.round() if self.chart.kind in ROUND else self.axes()
        image = self.sheet.finish()
        return as_picture(self.chart, image, self.marks, self.sheet.printed, length, self.ticks)

    def words(self, x: float, y: float, words: str, anchor: str = "mm", ink: Rgb | None = None, turn: int = 0) -> None:
        """Prints in the chart's type."""
        self.sheet.text(x, y, words, ink or self.chart.ink, self.style.family, self.style.size, anchor, turn)

    def measure(self, words: str) -> float:
        """The width of words in the chart's type."""
        return self.sheet.measure(words, self.style.family, self.style.size)

    def mixed(self, share: float) -> Rgb:
        """Paper with a share of ink."""
        r, g, b = (round(p + (i - p) * share) for p, i in zip(self.chart.back, self.chart.ink, strict=True))
        return r, g, b

    def title(self) -> None:
        """The chart's title at the top; one that does not fit is left out."""
        if not self.chart.title:
            return
        family = "sans-bold" if self.style.bold and self.style.family == "sans" else self.style.family
        size = round(self.style.size * 1.25)
        if self.sheet.measure(self.chart.title, family, size) > self.right - self.left:
            self.chart = replace(self.chart, title="")
            return
        x = self.left if self.style.title_left else (self.left + self.right) / 2
        anchor = "la" if self.style.title_left else "ma"
        self.sheet.text(x, self.top, self.chart.title, self.chart.ink, family, size, anchor)
        self.top += size * 1.7

    def legend(self) -> None:
        """A column at the right, or a row above or below; one that does not fit is left out."""
        unit, entries = self.style.size, self.chart.entries
        widths = [self.measure(name) + unit * 2.4 for name, _ in entries]
        heading = self.chart.legend_title
        width = max([*widths, self.measure(heading)])
        beside = self.style.legend_at == "right"
        if not beside and sum(widths) > self.right - self.left:
            beside = True
        height = unit * 1.5 * (len(entries) + bool(heading))
        if beside and (width > (self.right - self.left) * 0.36 or height > self.bottom - self.top):
            self.chart = replace(self.chart, legend=False)
            self.style = replace(self.style, outside=True)
            return
        if beside:
            self.right -= width
            y = self.top + unit * 0.7
            if heading:
                self.words(self.right + unit * 0.5, y, heading, "lm")
                y += unit * 1.5
            for name, rgb in entries:
                self.entry(self.right + unit * 0.5, y, name, rgb)
                y += unit * 1.5
            self.right -= unit * 0.4
            return
        above = self.style.legend_at == "top"
        y = self.top + unit * 0.6 if above else self.bottom - unit * 0.6
        x = self.left + (self.right - self.left - sum(widths)) / 2
        for (name, rgb), step in zip(entries, widths, strict=True):
            self.entry(x, y, name, rgb)
            x += step
        if above:
            self.top += unit * 1.9
        else:
            self.bottom -= unit * 1.9

    def entry(self, x: float, y: float, name: str, rgb: Rgb) -> None:
        """One swatch with its name."""
        unit = self.style.size
        half = unit * 0.4
        if self.chart.kind == "line":
            self.sheet.line([(x, y), (x + unit * 1.2, y)], rgb, self.style.pen)
        elif self.style.swatch == "disc" or self.chart.kind == "scatter":
            self.sheet.polygon(_disc(x + half, y, half), rgb)
        else:
            self.sheet.polygon(_box(x, y - half, x + 2 * half, y + half), rgb)
        self.words(x + unit * 1.5, y, name, "lm")

    def axes(self) -> float:
        """Axis titles, tick labels, labels, the frame and the marks; returns the length of the value axis."""
        chart, style, unit = self.chart, self.style, self.style.size
        shown = style.ticks or chart.shown
        written = [chart.written(tick) for tick in chart.ticks] if style.ticks else []
        tick_width = max(map(self.measure, written), default=0)
        label_width = max(map(self.measure, chart.labels), default=self.measure("100") if shown else 0)
        gap = unit * (0.7 if style.tick_marks else 0.4)
        upright = not chart.lying
        across, along = (chart.label_title, chart.value_title) if upright else (chart.value_title, chart.label_title)
        if along and style.value_title_above:
            self.words(self.left, self.top, along, "la")
            self.top += unit * 1.6
        elif along:
            self.words(self.left, (self.top + self.bottom) / 2, along, "lm", turn=90)
            self.left += unit * 1.5
        if across:
            self.bottom -= unit * 1.5
        self.left += (tick_width if upright else label_width) + gap
        if chart.shown and not upright:
            self.right -= unit * 2
        elif not upright or chart.kind == "scatter":
            self.right -= max(tick_width, self.measure("100")) / 2
        if chart.shown and upright:
            self.top += unit
        turn = self._turned(label_width) if upright and chart.labels else 0
        deep = {0: unit * 1.1, 45: label_width * 0.72 + unit * 0.7, 90: label_width}[turn]
        self.bottom -= deep + gap if upright or style.ticks else unit * 0.3
        if across:
            self.words((self.left + self.right) / 2, self.bottom + (deep + gap) + unit * 1.1, across, "mm")
        frame = Frame(self.left, self.top, self.right, self.bottom, chart)
        self.ground(frame, gap, turn)
        if chart.kind in ("line", "scatter"):
            self.lines(frame) if chart.kind == "line" else self.points(frame)
        else:
            self.bars(frame)
        return frame.length

    def _turned(self, width: float) -> int:
        slot = (self.right - self.left) / len(self.chart.labels)
        turn = self.style.turn
        if not turn and width > slot * 0.95:
            turn = 90 if slot < self.style.size * 1.6 else 45
        return 90 if turn == 45 and width * 0.72 > self.left + slot / 2 else turn

    def ground(self, frame: Frame, gap: float, turn: int) -> None:
        """The panel, the grid, ticks and labels."""
        chart, style, sheet = self.chart, self.style, self.sheet
        if style.panel:
            sheet.polygon(_box(frame.left, frame.top, frame.right, frame.bottom), style.panel)
        pale = chart.back if style.panel else self.mixed(0.15)
        lying = chart.lying
        every = self._every(frame)
        ticks = chart.ticks[::every] if style.ticks else []
        for tick in ticks:
            x, y = frame.at(0, tick)
            if style.grid:
                sheet.line([(x, y), frame.at(1, tick)], pale)
            if lying:
                self.words(x, frame.bottom + gap, chart.written(tick), "ma")
            else:
                self.words(x - gap, y, chart.written(tick), "rm")
            if style.tick_marks:
                foot = (x, frame.bottom)
                sheet.line([foot, (x, foot[1] + gap * 0.6)] if lying else [(x, y), (x - gap * 0.6, y)], self.mixed(0.5))
        self.ticks = ticks
        corner, strong = (frame.left, frame.bottom), self.mixed(0.6 if style.scale > 1 else 1)
        if style.boxed:
            sheet.line(
                [corner, (frame.left, frame.top), (frame.right, frame.top), (frame.right, frame.bottom), corner], pale
            )
        if style.axis:
            sheet.line([(frame.left, frame.top), corner, (frame.right, frame.bottom)], strong)
        if chart.low < 0:
            sheet.line([frame.at(0, 0), frame.at(1, 0)], strong)
        if chart.kind == "scatter":
            for tick in range(0, 101, 20 if frame.right - frame.left > style.size * 14 else 50):
                self.words(frame.at(tick / 100, 0)[0], frame.bottom + gap, str(tick), "ma")
        for j, label in enumerate(chart.labels):
            x, y = frame.at(frame.middle(j), chart.low)
            if lying:
                self.words(frame.left - gap, y, label, "rm")
            else:
                self.words(x, frame.bottom + gap, label, "ra" if turn == 45 else "ma", turn=turn)
                if style.tick_marks:
                    sheet.line([(x, frame.bottom), (x, frame.bottom + gap * 0.6)], self.mixed(0.5))

    def _every(self, frame: Frame) -> int:
        """Each how many ticks one is printed, so that they do not touch."""
        chart = self.chart
        apart = frame.length * chart.step / (chart.high - chart.low)
        wide = max((self.measure(chart.written(tick)) for tick in chart.ticks), default=0) + self.style.size * 0.6
        return max(1, math.ceil((wide if chart.lying else self.style.size * 1.2) / apart))

    def bars(self, frame: Frame) -> None:
        """Every bar with its value."""
        chart, style = self.chart, self.style
        for i, j, start, stop, base, end in bars(frame, style.thick):
            (x0, y0), (x1, y1) = frame.at(start, max(base, chart.low)), frame.at(stop, end)
            x0, x1, y0, y1 = *sorted((x0, x1)), *sorted((y0, y1))
            if style.scale == 1:
                x0, y0, x1, y1 = (round(v) for v in (x0, y0, x1, y1))
            x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
            outline = self._rounded(x0, y0, x1, y1, end < 0) if chart.kind != "stacked" else _box(x0, y0, x1, y1)
            rgb = chart.rgb[i][j]
            self.sheet.polygon(outline, rgb, style.edge)
            printed = (
                self.value(frame, (x0, y0, x1, y1), chart.printed(end - base), end < 0, rgb) if chart.shown else ""
            )
            self.marks.append(Mark(i, j, np.array(_box(x0, y0, x1, y1)), printed))

    def _rounded(self, x0: float, y0: float, x1: float, y1: float, below: bool):
        if not self.style.corner:
            return _box(x0, y0, x1, y1)
        lying = self.chart.lying
        radius = min(self.style.corner * ((y1 - y0) if lying else (x1 - x0)), (x1 - x0) / 2, (y1 - y0) / 2)
        arc = np.linspace(0, math.pi / 2, 6)
        out = np.stack([np.sin(arc), 1 - np.cos(arc)], 1) * radius  # from the side to the end, clockwise about it
        if lying:
            end, side = (x0, -1) if below else (x1, 1)
            first = [(end - side * (radius - s), y0 + c) for s, c in out]
            last = [(end - side * (radius - s), y1 - c) for s, c in out[::-1]]
            far = x1 if below else x0
            return [(far, y0), *first, *last, (far, y1)]
        end, side = (y1, -1) if below else (y0, 1)
        first = [(x0 + c, end + side * (radius - s)) for s, c in out]
        last = [(x1 - c, end + side * (radius - s)) for s, c in out[::-1]]
        far = y0 if below else y1
        return [(x0, far), *first, *last, (x1, far)]

    def value(self, frame: Frame, box, words: str, below: bool, rgb: Rgb) -> str:
        """Prints a bar's value at its end, or inside a part of a stack; returns it, or "" where there is no room."""
        x0, y0, x1, y1 = box
        unit, width, lying = self.style.size, self.measure(words), self.chart.lying
        if self.chart.kind == "stacked":
            if y1 - y0 < unit * 1.2 or x1 - x0 < width + 2:
                return ""
            self.words((x0 + x1) / 2, (y0 + y1) / 2, words, ink=_on(rgb))
            return words
        slot = (frame.bottom - frame.top if lying else frame.right - frame.left) / len(self.chart.labels)
        slot /= len(self.chart.series) if self.chart.kind == "grouped" else 1
        if slot < (unit if lying else width):
            return ""
        if lying:
            self.words(x0 - 3 if below else x1 + 3, (y0 + y1) / 2, words, "rm" if below else "lm")
        else:
            self.words((x0 + x1) / 2, y1 + 2 if below else y0 - 2, words, "ma" if below else "mb")
        return words

    def lines(self, frame: Frame) -> None:
        """Every line; its outline is the stroke."""
        chart, style = self.chart, self.style
        for i, row in enumerate(chart.values):
            path = [frame.at(frame.middle(j), value) for j, value in enumerate(row)]
            self.sheet.line(path, chart.rgb[i][0], style.pen)
            if style.dots:
                for x, y in path:
                    self.sheet.polygon(_disc(x, y, style.pen * 1.5), chart.rgb[i][0])
            self.marks.append(Mark(i, -1, stroke(path, max(style.pen, 2))))

    def points(self, frame: Frame) -> None:
        """Every point of a scatter plot."""
        radius = max(2.5, min(frame.length, frame.right - frame.left) * 0.018) * (0.7 + self.style.pen / 5)
        for i, row in enumerate(self.chart.values):
            for j, value in enumerate(row):
                outline = _disc(*frame.at(self.chart.across[i, j] / 100, value), radius)
                self.sheet.polygon(outline, self.chart.rgb[i][0])
                self.marks.append(Mark(i, j, np.array(outline)))

    def round(self) -> float:
        """A pie or a donut, its labels beside the slices where no legend names them; returns its circumference."""
        chart, style, unit = self.chart, self.style, self.style.size
        width, height = self.right - self.left, self.bottom - self.top
        if style.outside:
            width -= 2 * (max(map(self.measure, chart.labels)) + unit)
            height -= 3 * unit
        radius = max(12.0, min(width, height) / 2)
        centre = np.array([(self.left + self.right) / 2, (self.top + self.bottom) / 2])
        total, turned = chart.values[0].sum(), 0.0
        outlines = wedges(chart, centre, radius, style.hole, style.start, style.clockwise)
        for j, outline in enumerate(outlines):
            self.sheet.polygon(outline, chart.rgb[0][j], style.edge or (chart.back if style.scale > 1 else None))
            share = chart.values[0, j] / total
            angle = style.start + (turned + share / 2) * 2 * math.pi * (1 if style.clockwise else -1)
            turned += share
            ray = np.array([math.cos(angle), math.sin(angle)])
            words = f"{share * 100:.0f}%" if style.percent else chart.printed(chart.values[0, j])
            inside = radius * (0.65 if not style.hole else (1 + style.hole) / 2)
            room = 2 * inside * math.sin(min(share, 0.5) * math.pi)
            printed = ""
            if chart.shown and room > max(self.measure(words), unit) * 1.1 and radius * (1 - style.hole) > unit * 1.5:
                x, y = centre + ray * inside
                self.words(x, y, words, ink=_on(chart.rgb[0][j]))
                printed = words
            if style.outside:
                x, y = centre + ray * (radius + unit * 0.7)
                self.words(x, y, chart.labels[j], "lm" if ray[0] > 0.2 else "rm" if ray[0] < -0.2 else "mm")
            self.marks.append(Mark(0, j, outline, printed))
        return 2 * math.pi * radius


def _box(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _disc(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * math.pi, 16, endpoint=False)
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]


def _on(rgb: Rgb) -> Rgb:
    """Black or white, whichever can be read on the colour."""
    return (0, 0, 0) if 0.3 * rgb[0] + 0.6 * rgb[1] + 0.1 * rgb[2] > 130 else (255, 255, 255)
