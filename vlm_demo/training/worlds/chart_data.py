"""Chart data: what a chart is about, drawn by seed, before any renderer lays it out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlm_demo.training.worlds.world import COLOURS, drawn_colour

NAMES = {
    "bar": "bar chart", "grouped": "grouped bar chart", "stacked": "stacked bar chart", "line": "line chart",
    "pie": "pie chart", "donut": "donut chart", "scatter": "scatter plot",
}  # fmt: skip
_SHARES = (0.5, 0.11, 0.09, 0.13, 0.07, 0.05, 0.05)
ROUND = ("pie", "donut")

LABELS = (
    "Mon Tue Wed Thu Fri Sat Sun Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec Q1 Q2 Q3 Q4 North South East West "
    "Apples Pears Plums Bread Milk Tea Coffee Rice Beef Fish Cars Bikes Trains Buses Planes Dogs Cats Birds Paris Rome "
    "Oslo Lima Cairo Tokyo Anna Ben Carl Dora Emil Red Gold Iron Wood Glass 2019 2020 2021 2022 2023 2024 Sleep Work "
    "Sport School Reading Games Music Peter Mary Paul Lucy Tom Nina Spain Italy Chile Kenya India Japan Norway Texas "
    "Wind Solar Coal Gas Water Rent Food Travel Phone 20 30 40 50 60 70 Email Search Social Direct Ads"
).split()
_RUNS = {"Mon": 7, "Jan": 12, "Q1": 4, "2019": 6}  # sequences in LABELS and their lengths
SERIES = (
    "Sales|Costs|Profit|Income|Plan|Actual|Men|Women|Children|2022|2023|2024|Online|Store|Team A|Team B|Europe|Asia|"
    "Africa|Day|Night|x|y|z|w|Product A|Product B|Product C|New|Old|Small|Large|Buyers|Users|Rain|Snow"
).split("|")
TITLES = (
    "Sales by region|Monthly rainfall|Votes|Average score|Visitors per day|Revenue|Population|Output|Units sold|"
    "Results of the survey|Energy use|Students per class|Goals scored|Temperature|Budget|Profit|Hours of sleep|"
    "Time spent|Market share|Traffic sources|Daily steps|Orders per week|Company growth|A simple chart|Test results|"
    "Number of accidents|Website visits|Spending per month|Crop yield|Water level"
).split("|")
AXES = "Category Month Region Year Group Name Type Item Class City Team Day Product Kind a c".split()
SCALES = "Value|Amount|Count|Score|Number|Percent|Total|Hours|Price|Units|Sales|Frequency|Weight|b|d".split("|")
SORTS = "group category series type symbol region kind".split()

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Chart:
    """A chart's content.

    Attributes:
        kind: a key of NAMES.
        lying: whether the value axis runs from left to right.
        labels: the categories in reading order; of a scatter plot none.
        series: their names; one empty name where there is one series that is not named.
        values: [series, labels]; of a scatter plot [series, points].
        across: a scatter plot's places on the other axis, of the same shape, 0..100.
        colours, rgb: per series and label; the same for a whole series where there are several.
        low, high, step: the value axis and the distance of its ticks.
        shown: whether each value is printed at its mark; ``legend`` whether one explains the colours.
    """

    kind: str
    lying: bool
    labels: list[str]
    series: list[str]
    values: np.ndarray
    across: np.ndarray
    colours: list[list[str]]
    rgb: list[list[Rgb]]
    low: float
    high: float
    step: float
    thousands: str
    title: str
    label_title: str
    value_title: str
    shown: bool
    legend: bool
    legend_title: str
    back: Rgb
    ink: Rgb

    @property
    def ticks(self) -> list[float]:
        """The marked values of the axis."""
        first = np.ceil(self.low / self.step - 1e-9) + 0.0
        return [float(k * self.step) + 0.0 for k in np.arange(first, np.floor(self.high / self.step + 1e-9) + 1)]

    def written(self, value: float) -> str:
        """A tick as it is printed."""
        decimals = max(0, -int(np.floor(np.log10(self.step) + 1e-9)))
        return f"{value:,.{decimals}f}".replace(",", self.thousands)

    def printed(self, value: float) -> str:
        """A value as it is printed at its mark."""
        text = f"{value:,.2f}".rstrip("0").rstrip(".")
        return text.replace(",", self.thousands)

    @property
    def entries(self) -> list[tuple[str, Rgb]]:
        """The legend's rows."""
        if self.kind in ROUND:
            return list(zip(self.labels, self.rgb[0], strict=True))
        return [(name, rgb[0]) for name, rgb in zip(self.series, self.rgb, strict=True)]


def chart_data(rng: np.random.Generator, size: tuple[int, int]) -> Chart:
    """A chart's content that fits on a canvas of this size."""
    kind = str(rng.choice(list(NAMES), p=_SHARES))
    lying = kind in ("bar", "grouped", "stacked") and rng.random() < 0.28
    length = 0.7 * (size[1] if lying else size[0])
    series = _series(kind, rng)
    many = 12 if kind not in ROUND else 8
    room = int(min(length / 13, length * 224 / max(size) / 6))
    if kind == "grouped":
        room //= len(series)
    n = int(np.clip(rng.choice(np.arange(2, 13), p=_COUNTS), 2, max(2, min(many, room))))
    if kind == "line":
        n = max(3, n)
    labels = _labels(n, rng)
    values, across, low, high, step = _values(kind, len(series), n, rng)
    if kind == "scatter":
        labels = []
    dark = rng.random() < 0.14
    back, ink = _paper(dark, rng)
    by_label = kind in ROUND or (kind == "bar" and rng.random() < 0.62)
    colours, rgb = _paint(values.shape, by_label, back, rng)
    plain = series == [""]
    titled = rng.random()
    return Chart(
        kind, lying, labels, series, values, across, colours, rgb, low, high, step,
        thousands=str(rng.choice(["", ","])),
        title=str(rng.choice(TITLES)) if rng.random() < 0.6 else "",
        label_title=str(rng.choice(AXES)) if titled < 0.45 and kind not in ROUND else "",
        value_title=str(rng.choice(SCALES)) if titled < 0.5 and kind not in ROUND else "",
        shown=kind in ("bar", "grouped", "stacked", *ROUND) and rng.random() < (0.22 if len(series) > 1 else 0.33),
        legend=rng.random() < (0.55 if kind in ROUND else 0.0 if plain else 0.9),
        legend_title=str(rng.choice(SORTS)) if rng.random() < 0.3 else "",
        back=back, ink=ink,
    )  # fmt: skip


_COUNTS = np.array([4, 12, 15, 16, 13, 11, 9, 8, 5, 4, 3]) / 100


def _series(kind: str, rng: np.random.Generator) -> list[str]:
    if kind in ("bar", *ROUND):
        return [""]
    most = {"grouped": 5, "stacked": 5, "line": 5, "scatter": 4}[kind]
    count = int(rng.integers(2 if kind in ("grouped", "stacked") else 1, most))
    if count == 1:
        return ["" if rng.random() < 0.7 else str(rng.choice(SERIES))]
    if rng.random() < 0.2:
        return list("xyzw"[:count]) if rng.random() < 0.5 else list("PQRS"[:count])
    return [str(name) for name in rng.choice(SERIES, count, replace=False)]


def _labels(n: int, rng: np.random.Generator) -> list[str]:
    style = rng.random()
    if style < 0.42:
        start = 0 if rng.random() < 0.8 else int(rng.integers(0, 26 - n))
        letters = [chr(65 + start + i) for i in range(n)]
        if rng.random() < 0.1:
            letters = [str(letter) for letter in rng.permutation(letters)]
        return letters
    if style < 0.6:
        start = LABELS.index(str(rng.choice([first for first, length in _RUNS.items() if length >= n])))
        return LABELS[start : start + n]
    if style < 0.68:
        first, step = int(rng.choice([0, 1, 5, 10, 1990, 2010])), int(rng.choice([1, 1, 5, 10]))
        return [str(first + i * step) for i in range(n)]
    return [str(label) for label in rng.choice(LABELS, n, replace=False)]


def _values(kind: str, count: int, n: int, rng: np.random.Generator):
    """Values, a scatter plot's places across, and the axis: its low end, its high end and its step."""
    top = float(rng.choice([1, 5, 10, 40, 100, 100, 500, 1000, 20000, 3e6]))
    places = np.zeros((count, n))
    if kind == "scatter":
        n = int(rng.integers(4, 13 if count > 1 else 22))
        values, places = rng.uniform(0.05, 1, (count, n)) * top, rng.uniform(3, 97, (count, n))
        if rng.random() < 0.4:
            values = (0.15 + places / 130 + rng.normal(0, 0.06, (count, n))).clip(0.03, 1) * top
    elif kind == "line":
        steps = np.linspace(0, 1, n)
        slope, noise = rng.uniform(-0.7, 0.7, (count, 1)), rng.choice([0.03, 0.1, 0.25])
        values = 0.5 + slope * (steps - 0.5) + rng.uniform(-0.15, 0.15, (count, 1)) + rng.normal(0, noise, (count, n))
        values = values.clip(0.04, 1) * top
    else:
        values = np.stack([_distinct(n, rng) for _ in range(count)]) * top
        if kind in ("grouped", "stacked"):
            values = rng.uniform(0.06, 1, (count, n)) * top
        if kind in ("bar", "grouped") and rng.random() < 0.12:
            values *= np.where(rng.random((count, n)) < 0.35, -rng.uniform(0.3, 0.8), 1)
        if kind == "stacked":
            values /= count
    reach = values.sum(0).max() if kind == "stacked" else values.max()
    step = _step(max(reach, 0) - min(values.min(), 0), rng)
    if kind in ("bar", "line", "grouped") and rng.random() < 0.35:
        half = step / rng.choice([1, 1, 2])
        values = np.where(np.abs(values) < half, np.sign(values) * half, np.round(values / half) * half)
    decimals = 0 if top >= 40 else 1 if top >= 5 else 2
    values = np.round(values, decimals + (2 if kind == "scatter" else 0))
    values = np.where(values == 0, step / 2 if top < 40 else max(1, round(step / 2)), values)
    reach = values.sum(0).max() if kind == "stacked" else values.max()
    nice = rng.random() < 0.5 and kind != "scatter"  # a point at the very edge would be cut
    high = np.ceil(reach / step - 1e-9) * step if nice or reach <= 0 else reach * rng.uniform(1.03, 1.22)
    low = min(values.min(), 0)
    low = np.floor(low / step + 1e-9) * step if nice else low * 1.08
    if kind in ("line", "scatter") and rng.random() < 0.3:
        low = np.floor(values.min() / step) * step
    return values, places, float(low), float(max(high, 0 if kind != "line" else low + step)), float(step)


def _distinct(n: int, rng: np.random.Generator) -> np.ndarray:
    """Values in 0..1 whose largest and smallest stand out by at least 6 %."""
    values = rng.uniform(0.06, 1, n)
    for _ in range(50):
        ordered = np.sort(values)
        if ordered[-1] - ordered[-2] > 0.06 and ordered[1] - ordered[0] > 0.06:
            break
        values = rng.uniform(0.06, 1, n)
    return values


def _step(span: float, rng: np.random.Generator) -> float:
    wanted = span / rng.uniform(3, 10)
    power = 10.0 ** np.floor(np.log10(wanted))
    return float(power * next(m for m in (1, 2, 5, 10) if m * power >= wanted * 0.999))


def _paper(dark: bool, rng: np.random.Generator) -> tuple[Rgb, Rgb]:
    if dark:
        r, g, b = (int(v) for v in rng.integers(8, 52) + rng.integers(0, 12, 3))
        return (r, g, b), (int(rng.integers(190, 250)),) * 3
    shade = int(rng.choice([0, 30, 60, 90]))
    if rng.random() < 0.72:
        return (255, 255, 255), (shade, shade, shade)
    r, g, b = (int(v) for v in rng.integers(232, 256, 3))
    return (r, g, b), (shade, shade, shade)


def _paint(shape, by_label: bool, back: Rgb, rng: np.random.Generator):
    """Colour names and RGB [series][label]; those with different names can be told from each other and the paper."""
    palette = [name for name in COLOURS if name not in ("white", "black")]
    soft = rng.uniform(0, 0.2) if rng.random() < 0.3 else 0.0
    count = shape[1] if by_label else shape[0]
    weights = np.array([4.0 if name == "blue" and count == 1 else 1.0 for name in palette])
    repeat = by_label and (count > len(palette) or rng.random() < 0.1)
    names = [str(name) for name in rng.choice(palette, count, replace=bool(repeat), p=weights / weights.sum())]
    chosen: dict[str, Rgb] = {}
    for name in names:
        for _ in range(12):
            rgb = np.array(drawn_colour(name, rng)) * (1 - soft) + 150 * soft
            others = [np.array(other) for other in (back, *chosen.values())]
            if name in chosen or all(np.linalg.norm(rgb - other) > 70 for other in others):
                break
        r, g, b = (int(v) for v in rgb)
        chosen.setdefault(name, (r, g, b))
    if by_label:
        return [names] * shape[0], [[chosen[name] for name in names]] * shape[0]
    return [[name] * shape[1] for name in names], [[chosen[name]] * shape[1] for name in names]
