"""Charts: bars, lines, slices and points drawn by matplotlib, with every mark's value, colour, label and outline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from vlm_demo.contracts import OcrWord
from vlm_demo.training.worlds.browser import lines_of, printed
from vlm_demo.training.worlds.chart_data import NAMES, ROUND, ChartData, chart_data
from vlm_demo.training.worlds.values import Values
from vlm_demo.training.worlds.world import DrawnPicture, Thing

SHARES = (0.46, 0.11, 0.09, 0.15, 0.08, 0.06, 0.05)
SHAPES = {"line": "line", "pie": "slice", "donut": "slice", "scatter": "point"}  # of the others: bar
STYLES = ("default", "default", "classic", "grayscale", "seaborn-v0_8-white", "tableau-colorblind10")
HELD_OUT_STYLES = ("ggplot", "seaborn-v0_8-darkgrid", "bmh", "fivethirtyeight")
FONTS = ("DejaVu Sans", "DejaVu Sans", "DejaVu Sans Mono", "STIXGeneral")
HELD_OUT_FONT = "DejaVu Serif"
DPI = 100


def draw_chart(rng: np.random.Generator, held_out: bool = False, kind: str | None = None) -> DrawnPicture:
    """A chart of any kind, or of this one; ``held_out`` uses a style and a font that training never sees.

    ``facts``: ``chart`` (what it is called), ``labels`` and ``series`` as printed (one empty name where the only series
    has none), ``values`` [series][label], ``horizontal``, ``legend``, ``title``, ``titles`` (of the label and the
    value axis), ``ticks`` (value and text of the value axis), ``words`` and ``texts`` as of every picture. A mark's
    facts are ``label``, ``series``, ``value`` and ``printed``, its value as printed in the chart or None; of a line
    ``series`` and ``trend``.
    """
    values = Values(rng)
    kind = kind or str(rng.choice(list(NAMES), p=SHARES))
    dark = not held_out and values.chance(0.14)
    style = values.pick(HELD_OUT_STYLES if held_out else STYLES)
    size = _size(rng)
    pixels = float(np.clip(min(size) * rng.uniform(0.035, 0.05), 10, 18))
    font = HELD_OUT_FONT if held_out else values.pick(FONTS)
    settings: dict[str, Any] = {"font.size": pixels * 72 / DPI, "font.family": font}
    settings |= {f"{part}size": "medium" for part in ("axes.label", "xtick.label", "ytick.label", "legend.font")}
    settings |= {"axes.titlesize": "large", "figure.dpi": DPI, "savefig.dpi": DPI, "figure.subplot.top": 0.9}
    with matplotlib.style.context(["default", "dark_background" if dark else style, settings]):
        background = matplotlib.colors.to_rgb(matplotlib.rcParams["axes.facecolor"])
        return _Plotter(chart_data(values, kind, size, background), size, pixels, values).picture()


def _size(rng: np.random.Generator) -> tuple[int, int]:
    ranges = ((260, 420), (400, 660), (640, 900))
    longer = int(rng.integers(*ranges[int(rng.choice(3, p=[0.45, 0.45, 0.1]))]))
    shorter = int(max(200, longer / rng.choice([1.0, 1.25, 4 / 3, 3 / 2, 16 / 9])))
    return (longer, shorter) if rng.random() < 0.75 else (shorter, longer)


class _Plotter:
    """Draws one chart; its marks are measured once matplotlib has laid them out."""

    def __init__(self, data: ChartData, size: tuple[int, int], pixels: float, values: Values) -> None:
        self.data, self.size, self.pixels, self.values, self.rng = data, size, pixels, values, values.rng
        self.figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, layout="tight")
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_subplot()
        self.marks: list[tuple[int, int, Any]] = []  # series, label (-1: all) and artist
        self.printed: dict[tuple[int, int], str] = {}
        self.shown = data.kind not in ("line", "scatter", "stacked") and values.chance(0.45)

    def picture(self) -> DrawnPicture:
        """The finished picture."""
        data, values, axes = self.data, self.values, self.axes
        draw_by_kind = {"line": self.lines, "scatter": self.points, "pie": self.slices, "donut": self.slices}
        draw_by_kind.get(data.kind, self.bars)()
        title = values.word("titles") if values.chance(0.6) else ""
        axes.set_title(title)
        title_share = 0.45 if data.kind not in ROUND else 0.0
        axis_titles = [values.word(pool) if values.chance(title_share) else "" for pool in ("axes", "scales")]
        labels = ("ylabel", "xlabel") if data.horizontal else ("xlabel", "ylabel")
        axes.set(**dict(zip(labels, axis_titles, strict=True)))
        legend = values.chance(0.5) if data.kind in ROUND else len(data.series) > 1 and values.chance(0.9)
        if legend:
            self.legend()
        self.figure.draw_without_rendering()
        self.thin()
        self.canvas.draw()
        image = Image.fromarray(np.ascontiguousarray(np.asarray(self.canvas.buffer_rgba())[..., :3]))
        facts: dict[str, Any] = {
            "chart": NAMES[data.kind], "labels": data.labels, "series": data.series, "values": data.values.tolist(),
            "horizontal": data.horizontal, "legend": legend, "title": title, "titles": axis_titles,
            "ticks": self.ticks(),
        } | printed(lines_of(self.words()))  # fmt: skip
        return DrawnPicture("charts", image, tuple(thing for mark in self.marks for thing in self.things(*mark)), facts)

    def bars(self) -> None:
        """Bars next to or on top of each other, perhaps each with its value."""
        data, axes = self.data, self.axes
        n, count = len(data.labels), len(data.series)
        total_width, ticks = self.rng.uniform(0.55, 0.85), np.arange(n)
        base = np.zeros(n)
        for i in range(count):
            width = total_width / count if data.kind == "grouped" else total_width
            positions = ticks + ((i - (count - 1) / 2) * width if data.kind == "grouped" else 0)
            if data.horizontal:
                artists = axes.barh(positions, data.values[i], width, left=base, color=data.rgbs[i])
            else:
                artists = axes.bar(positions, data.values[i], width, bottom=base, color=data.rgbs[i])
            base = base + (data.values[i] if data.kind == "stacked" else 0)
            self.marks += [(i, j, bar) for j, bar in enumerate(artists)]
            available = self.size[1 if data.horizontal else 0] * 0.6 * width / n
            needed = self.pixels * (1 if data.horizontal else 0.65 * max(len(written(v)) for v in data.values[i]))
            if self.shown and available > needed:
                texts = [written(v) for v in data.values[i]]
                axes.bar_label(artists, texts, padding=2)
                self.printed |= {(i, j): text for j, text in enumerate(texts)}
                axes.margins(x=0.14 if data.horizontal else None, y=None if data.horizontal else 0.14)
        (axes.set_yticks if data.horizontal else axes.set_xticks)(ticks, data.labels)
        if data.horizontal:
            axes.invert_yaxis()

    def lines(self) -> None:
        """A line for each series."""
        data, positions = self.data, np.arange(len(self.data.labels))
        marker = self.values.pick(("", "", "o"))
        for i, row in enumerate(data.values):
            width = self.rng.uniform(1.5, 3)
            (line,) = self.axes.plot(positions, row, color=data.rgbs[i][0], marker=marker, linewidth=width)
            self.marks.append((i, -1, line))
        self.axes.set_xticks(positions, data.labels)

    def points(self) -> None:
        """The points of a scatter plot, a series at a time."""
        for i, row in enumerate(self.data.values):
            (dots,) = self.axes.plot(
                self.rng.uniform(0, 100, len(row)), row, "o", color=self.data.rgbs[i][0], markersize=self.pixels * 0.5
            )
            self.marks.append((i, -1, dots))

    def slices(self) -> None:
        """A pie, or a donut, perhaps with the shares in its larger slices."""
        data = self.data
        row = np.abs(data.values[0])
        texts = [f"{share * 100:.0f}%" for share in row / row.sum()]
        pie = self.axes.pie(
            row, labels=data.labels, colors=data.rgbs[0], autopct="%.0f%%" if self.shown else None,
            pctdistance=0.78 if data.kind == "donut" else 0.65, startangle=int(self.rng.choice([0, 90])),
            wedgeprops={"width": self.rng.uniform(0.35, 0.5)} if data.kind == "donut" else None,
        )  # fmt: skip
        for j, wedge in enumerate(pie.wedges if hasattr(pie, "wedges") else pie[0]):
            self.marks.append((0, j, wedge))
            if self.shown:
                if row[j] / row.sum() < 0.08:
                    next(text for text in self.axes.texts if text.get_text() == texts[j]).set_text("")
                else:
                    self.printed[0, j] = texts[j]

    def legend(self) -> None:
        """A legend that explains the colours, next to the axes."""
        handles: dict[int, Any] = {}
        for i, j, artist in self.marks:
            handles.setdefault(j if self.data.kind in ROUND else i, artist)
        names = self.data.labels if self.data.kind in ROUND else self.data.series
        if self.data.kind in ROUND:
            for text in self.axes.texts:
                text.set_text("" if text.get_text() in names else text.get_text())
        self.axes.legend(list(handles.values()), names, loc="center left", bbox_to_anchor=(1.0, 0.5))

    def thin(self) -> None:
        """Turn the labels of the horizontal axis where they would touch each other."""
        labels = [text for text in self.axes.get_xticklabels() if text.get_text()]
        boxes = [text.get_window_extent() for text in labels]
        if self.data.kind not in ROUND and any(a.x1 + 3 > b.x0 for a, b in zip(boxes, boxes[1:], strict=False)):
            self.axes.tick_params("x", rotation=90)

    def shown_ticks(self, axis: Any) -> list[Any]:
        """The ticks that lie in the axes: the others are not drawn."""
        low, high = sorted(axis.get_view_interval())
        slack = 1e-9 * (high - low)
        return [tick for tick in axis.get_major_ticks() if low - slack <= tick.get_loc() <= high + slack]

    def ticks(self) -> list[tuple[float, str]]:
        """Value and text of each tick of the value axis."""
        axis = self.axes.xaxis if self.data.horizontal else self.axes.yaxis
        pairs = [(float(tick.get_loc()), tick.label1.get_text()) for tick in self.shown_ticks(axis)]
        return [pair for pair in pairs if pair[1] and self.data.kind not in ROUND]

    def things(self, i: int, j: int, artist: Any) -> list[Thing]:
        """The things of one mark: one, or of a scatter plot's series its points."""
        data, shape = self.data, SHAPES.get(self.data.kind, "bar")
        colour = data.colours[i][j]
        facts: dict[str, Any] = {"series": data.series[i] or None}
        if shape == "line":
            return [Thing(shape, colour, self._stroke(artist), facts=facts | {"trend": trend(data.values[i])})]
        if shape == "point":
            angles = np.linspace(0, 2 * math.pi, 16, endpoint=False)
            ring = np.stack([np.cos(angles), np.sin(angles)], 1) * artist.get_markersize() / 2 * DPI / 72
            centres = self._to_pixels(artist.get_transform().transform(artist.get_xydata()))
            return [Thing(shape, colour, ring + centre, facts=facts) for centre in centres]
        path = artist.get_path().transformed(artist.get_transform())
        outline = self._to_pixels(max(path.to_polygons(), key=len)[:-1])
        facts |= {"label": data.labels[j], "value": float(data.values[i, j]), "printed": self.printed.get((i, j))}
        return [Thing(shape, colour, outline, text=data.labels[j], facts=facts)]

    def _stroke(self, artist: Any) -> np.ndarray:
        """The outline of a line."""
        path = self._to_pixels(artist.get_transform().transform(artist.get_xydata()))
        half_width = artist.get_linewidth() * DPI / 144
        steps = np.diff(path, axis=0)
        normals = np.stack([-steps[:, 1], steps[:, 0]], 1) / np.linalg.norm(steps, axis=1, keepdims=True)
        point_normals = np.concatenate([normals[:1], (normals[:-1] + normals[1:]) / 2, normals[-1:]])
        return np.concatenate([path + point_normals * half_width, (path - point_normals * half_width)[::-1]])

    def words(self) -> list[OcrWord]:
        """The printed words; those that run upwards in boxes above each other."""
        found: list[OcrWord] = []
        axes = (self.axes.xaxis, self.axes.yaxis)
        all_labels, shown_labels = (
            {label for tick in ticks for label in (tick.label1, tick.label2)}
            for ticks in (
                [tick for axis in axes for tick in axis.get_major_ticks()],
                [tick for axis in axes for tick in self.shown_ticks(axis)],
            )
        )
        for text in self.figure.findobj(Text):
            if not text.get_text().strip() or not text.get_visible() or text in all_labels - shown_labels:
                continue
            box = text.get_window_extent()
            x0, y0, x1, y1 = box.x0, self.size[1] - box.y1, box.x1, self.size[1] - box.y0
            if not (0 < (x0 + x1) / 2 < self.size[0] and 0 < (y0 + y1) / 2 < self.size[1]):
                continue
            if text.get_rotation() == 90:
                rotated = _words_of(text.get_text(), (0, x0, y1 - y0, x1))
                found += [
                    OcrWord(w.text, (w.box[1], round(y1 - w.box[2]), w.box[3], round(y1 - w.box[0])), w.confidence)
                    for w in rotated
                ]
            else:
                found += _words_of(text.get_text(), (x0, y0, x1, y1))
        return found

    def _to_pixels(self, points: np.ndarray) -> np.ndarray:
        return np.stack([points[:, 0], self.size[1] - points[:, 1]], 1)


def written(value: float) -> str:
    """A value as it is printed at its mark."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def trend(row: np.ndarray) -> str | None:
    """Whether a line clearly goes up or down."""
    change, spread = float(row[-1] - row[0]), float(row.max() - row.min())
    correlation = float(np.corrcoef(np.arange(len(row)), row)[0, 1]) if row.std() else 0.0
    if spread == 0 or abs(change) < 0.5 * spread or abs(correlation) < 0.7 or correlation * change < 0:
        return None
    return "up" if change > 0 else "down"


def _words_of(text: str, box: Sequence[float]) -> list[OcrWord]:
    """The words of a printed text, each with its share of the text's ``box`` (x0, y0, x1, y1) by its letters."""
    x0, y0, x1, y1 = box
    letter = (x1 - x0) / max(len(text), 1)
    words, position = [], 0
    for word in text.split():
        position = text.index(word, position)
        left, position = x0 + position * letter, position + len(word)
        words.append(OcrWord(word, (round(left), round(y0), round(x0 + position * letter), round(y1)), 100.0))
    return words
