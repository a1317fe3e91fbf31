"""Heatmap benchmark: every method over the same pointing items → pointing, overlap, insertion and deletion.

Knows the engine and nothing of how maps are made. Two baselines are measured with the methods: the
picture's centre, and chance.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlm_demo.contracts import Answer, HeatmapSettings, MapRequest, View
from vlm_demo.contracts.engine import Engine, MeasurableEngine, Request
from vlm_demo.contracts.geometry import inside, interpolate
from vlm_demo.contracts.heatmap_methods import BY_NAME
from vlm_demo.errors import BadImage, BadQuestion, OcrUnavailable, VlmDemoError, WordNotInAnswer
from vlm_demo.evaluation import pointing
from vlm_demo.evaluation.items import Item, Skipped
from vlm_demo.evaluation.report import Score
from vlm_demo.evaluation.run import LastPicture
from vlm_demo.images.formats import formats
from vlm_demo.intervals import wilson

STEPS = 7  # maps between the whole picture and the blurred one, for insertion and deletion
CENTRE, CHANCE = "centre", "chance"
LAST = "last"


@dataclass
class MethodFigures:
    """The figures of one method over all items.

    Attributes:
        hits: for each item whether the hottest pixel lies on the named thing; for chance the probability that it does.
        ious: the overlaps of the hot part with the thing, 0..1.
        insertions, deletions: areas under the word's probability, 0..1; high and low are good.
        seconds: of each map.
    """

    hits: list[float] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    insertions: list[float] = field(default_factory=list)
    deletions: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def pointing(self) -> Score:
        return Score(len(self.hits), round(sum(self.hits)))

    def as_dict(self) -> dict[str, Any]:
        """pointing (n, accuracy, 95 % interval), and the means of the others; None where nothing was counted."""
        points = self.pointing.as_dict() | {"accuracy": _mean(self.hits)}
        means = {name: _mean(getattr(self, name)) for name in ("ious", "insertions", "deletions", "seconds")}
        names = {"ious": "iou", "insertions": "insertion", "deletions": "deletion", "seconds": "seconds_a_word"}
        return {"pointing": points} | {names[name]: mean for name, mean in means.items()}


@dataclass
class MethodComparison:
    """All methods compared.

    Attributes:
        figures: of each method, then of the baselines.
        default: the method that the model draws by default.
        unavailable: the methods that this model can't offer, and why.
        skipped: items that could not be scored.
        settings: how the run was made, for the reader of the JSON.
    """

    figures: dict[str, MethodFigures] = field(default_factory=dict)
    default: str = ""
    unavailable: dict[str, str] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON-ready values; ``pointing`` repeats the default's."""
        as_dicts = {name: figures.as_dict() for name, figures in self.figures.items()}
        default = as_dicts.get(self.default, MethodFigures().as_dict())
        return {
            "pointing": default["pointing"],
            "default": self.default,
            "methods": {name: figures for name, figures in as_dicts.items() if name in BY_NAME},
            "baselines": {name: figures for name, figures in as_dicts.items() if name not in BY_NAME},
            "unavailable": self.unavailable,
            "skipped": [{"line": s.line, "image": s.image, "reason": s.reason} for s in self.skipped],
            "settings": self.settings,
        }

    def table(self) -> str:
        """The figures for a person."""
        width = max(len(name) for name in (*self.figures, "method")) + 2
        columns = "".join(f"  {name:>6}" for name in ("IoU", "insert", "delete"))
        head = f"{'method':<{width}} {'n':>5}  {'points right':>24}{columns}  {'s/word':>7}"
        lines = [head, "-" * len(head)]
        lines += [_row(name + " *" * (name == self.default), figures, width) for name, figures in self.figures.items()]
        lines.append(
            "* the default. points right: the hottest pixel lies on the named thing (95 % interval). IoU: of the map, "
            "cut by\n  Otsu, with the thing. insert, delete: the word's probability while the hottest patches come out "
            "of the blur (high is\n  good) or go into it (low is good)"
        )
        last, default = (
            _mean(self.figures[name].ious) if name in self.figures else None for name in (LAST, self.default)
        )
        if last and default and self.default != LAST:
            lines.append(f"the default's IoU over the last layer's: {default / last:.2f}×")
        lines += [f"{name}: {reason}" for name, reason in self.unavailable.items()]
        lines += [f"skipped: line {one.line} ({one.image}): {one.reason}" for one in self.skipped]
        return "\n".join(lines)


def compare(
    engine: MeasurableEngine,
    folder: Path,
    items: Sequence[Item],
    skipped: Sequence[Skipped] = (),
    *,
    names: Sequence[str] | None = None,
    settings: HeatmapSettings | None = None,
    progress: bool = True,
    hiding: bool = True,
) -> MethodComparison:
    """Draw the phrase of every item by every method.

    Args:
        items: pointing items, as `items.select` gives them.
        names: of methods; None = the model's default alone.
        settings: another default than the checkpoint's.
        progress: draw a bar on stderr.
        hiding: measure insertion and deletion too, which takes most of the time.
    Raises:
        VlmDemoError: a name is no method's, or the model gives no heatmaps.
    """
    unknown = [name for name in names or () if name not in BY_NAME]
    if unknown:
        raise VlmDemoError(f"There is no heatmap method {unknown[0]}: choose all or of {', '.join(BY_NAME)}.")
    found = MethodComparison(skipped=list(skipped))
    for item, answer, picture in explained(engine, folder, items, found.skipped, progress, settings):
        assert answer.trace is not None
        found.default = answer.trace.settings.method
        for name, reason in engine.heatmap_methods(answer).items():
            if reason and name in (names or ()) and name != found.default:
                found.unavailable[name] = reason
        methods = [name for name in dict.fromkeys(names or [found.default]) if name not in found.unavailable]
        _score(engine, answer, item, _mask(folder, item, picture.size), methods, found.figures, hiding)
    return found


def explained(
    engine: Engine,
    folder: Path,
    items: Sequence[Item],
    skipped: list[Skipped],
    progress: bool,
    settings: HeatmapSettings | None = None,
) -> Iterable[tuple[Item, Answer, Image.Image]]:
    """Each pointing item with the answer that its phrase is given for, and the picture; adds to ``skipped``."""
    from tqdm import tqdm

    if not engine.capabilities.explains:
        raise VlmDemoError("This model gives no heatmaps, so nothing points: choose another model.")
    pictures = LastPicture(folder)
    for item in tqdm(items, unit="item", file=sys.stderr, disable=not progress, dynamic_ncols=True):
        try:
            picture = pictures.open(item.image)
            request = Request((picture,), item.question, bool(item.ocr), bool(item.evidence_only))
            answer = engine.explain(request, item.phrase or "")
        except (BadImage, BadQuestion, OcrUnavailable, WordNotInAnswer) as error:
            skipped.append(Skipped(item.line, item.image, str(error)))
            continue
        if settings is not None and answer.trace is not None:
            answer = replace(answer, trace=replace(answer.trace, settings=settings))
        yield item, answer, picture


def _score(
    engine: MeasurableEngine,
    answer: Answer,
    item: Item,
    mask: np.ndarray,
    names: Sequence[str],
    figures: dict[str, MethodFigures],
    hiding: bool,
) -> None:
    """Every method and both baselines on one item, whose steps of insertion and deletion are run in one batch."""
    view, phrase = answer.view, item.phrase or ""
    in_picture = inside(view)
    rng = np.random.default_rng(item.line)
    makers: dict[str, Callable[[], np.ndarray]] = {
        name: partial(engine.cells, answer, MapRequest(phrase, method=name)) for name in names
    }
    makers |= {CENTRE: lambda: _centre(view), CHANCE: lambda: rng.random(len(in_picture))}
    baseline_hits = _baseline_hits(item, view.size)
    hidden = [np.zeros((1, len(in_picture)), bool), np.ones((1, len(in_picture)), bool)]
    for name, make in makers.items():
        started = time.perf_counter()
        cells = make()
        heat = interpolate(cells, view)
        method_figures = figures.setdefault(name, MethodFigures())
        if name in BY_NAME:
            method_figures.seconds.append(time.perf_counter() - started)
        method_figures.hits.append(
            baseline_hits[name] if name in baseline_hits else float(pointing.hit(heat, item.boxes))
        )
        method_figures.ious.append(pointing.iou(heat, mask))
        hidden += pointing.hidden(cells, in_picture, STEPS)
    if not hiding:
        return
    steps = answer.steps(phrase)
    fractions = pointing.fractions(STEPS)
    unchanged, blurred, *steps_between = np.exp(engine.likelihoods(answer, np.concatenate(hidden))[:, steps].sum(1))
    for i, name in enumerate(makers):
        deleted, inserted = (steps_between[(2 * i + j) * STEPS : (2 * i + j + 1) * STEPS] for j in (0, 1))
        figures[name].deletions.append(pointing.area_under_curve(fractions, [unchanged, *deleted, blurred]))
        figures[name].insertions.append(pointing.area_under_curve(fractions, [blurred, *inserted, unchanged]))


def _centre(view: View) -> np.ndarray:
    """The nearer a patch to the middle of the picture, the hotter."""
    x, y = view.boxes[:, [0, 2]].mean(1), view.boxes[:, [1, 3]].mean(1)
    return -np.hypot(x - view.size[0] / 2, y - view.size[1] / 2)


def _baseline_hits(item: Item, size: tuple[int, int]) -> dict[str, float]:
    """Whether the middle of the picture lies on the thing, and how probably a random pixel does."""
    x, y = size[0] / 2, size[1] / 2
    centre_hit = any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in item.boxes)
    return {CENTRE: float(centre_hit), CHANCE: float(pointing.area(item.boxes, size).mean())}


def _mask(folder: Path, item: Item, size: tuple[int, int]) -> np.ndarray:
    """bool [H, W] of the thing: the item's mask, or its boxes."""
    if item.mask is None:
        return pointing.area(item.boxes, size)
    try:
        with Image.open(folder / item.mask, formats=formats()) as opened:
            mask = np.asarray(opened.convert("L")) > 127
    except OSError as error:
        raise VlmDemoError(f"The mask {item.mask} of line {item.line} can't be opened: mend the folder.") from error
    if mask.shape != size[::-1]:
        raise VlmDemoError(f"The mask {item.mask} of line {item.line} is not of its picture's size: mend the folder.")
    return mask


def _row(name: str, figures: MethodFigures, width: int) -> str:
    score = figures.pointing
    low, high = wilson(score.right, score.n)
    points = f"{sum(figures.hits) / score.n:.1%} ({low:.1%} to {high:.1%})"
    seconds = f"{_mean(figures.seconds):7.2f}" if figures.seconds else f"{'–':>7}"
    means = [_mean(figures.ious), _mean(figures.insertions), _mean(figures.deletions)]
    columns = "  ".join(f"{'–':>6}" if mean is None else f"{mean:6.3f}" for mean in means)
    return f"{name:<{width}} {score.n:>5}  {points:>24}  {columns}  {seconds}"


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
