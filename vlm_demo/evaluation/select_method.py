"""Select method: which map of recorded rows a checkpoint should draw by default, and the figures of each method.

Chosen on one half of the items and scored on the other, so that the winner's score is not biased by the selection.
One method that needs another pass of the model is scored too, for comparison.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vlm_demo.contracts import Answer, HeatmapSettings
from vlm_demo.contracts.attention import log_shares
from vlm_demo.contracts.engine import MeasurableEngine
from vlm_demo.contracts.geometry import inside
from vlm_demo.contracts.heatmap_methods import BY_NAME, TABLE
from vlm_demo.errors import VlmDemoError
from vlm_demo.evaluation import head_weights
from vlm_demo.evaluation.heatmap_benchmark import MethodComparison, compare, explained
from vlm_demo.evaluation.items import Item, Skipped

BEST_HEADS = (1, 2, 3, 5)  # how many of the heads that point best are combined
EXTRA_METHOD = "relevancy"  # the method with another pass that is scored too

Examples = Sequence[tuple[Item, Answer]]


def choose(
    engine: MeasurableEngine,
    folder: Path,
    items: Sequence[Item],
    names: Sequence[str] | None = None,
    progress: bool = True,
    hiding: bool = True,
) -> tuple[HeatmapSettings, MethodComparison]:
    """Try every free method, all layers and each layer, the heads that point best, and all heads by fitted weights.

    Args:
        items: pointing items; kinds of them count alike.
        names: the other methods to be scored; None = every free one, and relevancy.
        hiding: score insertion and deletion too.
    Returns:
        The settings, found on the first half and with the scores of the second, and that half's comparison. Of the
        second half one thing is used beforehand: whether the simple or the fitted map becomes the default. At the end
        the fitted weights are fitted once more, on both halves; the scores stay those of the fit on the first.
    Raises:
        VlmDemoError: there are too few items to choose on one half and score on the other, or no heatmaps.
    """
    if len(items) < 4:
        raise VlmDemoError(f"{len(items)} pointing items are too few to choose by: give a folder with more of them.")
    first, second = halves(items)
    skipped: list[Skipped] = []
    examples = [(item, answer) for item, answer, _ in explained(engine, folder, first, skipped, progress)]
    if not examples:
        raise VlmDemoError(f"No pointing item could be read ({skipped[0].reason}); mend the folder.")
    held_out = [(item, answer) for item, answer, _ in explained(engine, folder, second, [], progress)]
    settings = _better(examples, held_out)
    methods = list(names) if names else [method.name for method in TABLE if method.free or method.name == EXTRA_METHOD]
    found = compare(engine, folder, second, skipped, names=methods, settings=settings, progress=progress, hiding=hiding)
    scores = {
        name: round(float(np.mean(figures.hits)), 4) for name, figures in found.figures.items() if name in BY_NAME
    }
    scored = len(next(iter(found.figures.values())).hits) if found.figures else 0
    weights = _fitted([*examples, *held_out]).weights
    return replace(settings, scores=scores, scored=scored, weights=weights), found


def halves(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Every second item of each kind, and the others, in their order."""
    counts: Counter[str] = Counter()
    parts: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        parts[counts[item.kind] % 2].append(item)
        counts[item.kind] += 1
    return parts


def _better(examples: Examples, held_out: Examples) -> HeatmapSettings:
    """The simple map or the fitted one, both fitted on the ``examples``, whichever points better on items that it was
    not fitted on: those held out, and each half of the examples with a fit on the other half."""
    simple, fitted = _simple(examples), _fitted(examples)
    scores = [
        len(examples) * _cross_validated(examples, fit)
        + (len(held_out) * _mean_score(held_out, settings)[0] if held_out else 0)
        for fit, settings in ((_simple, simple), (_fitted, fitted))
    ]
    best = fitted if scores[1] > scores[0] else simple  # the simple one wins a tie
    return replace(best, heads=simple.heads, weights=fitted.weights)


def _simple(examples: Examples) -> HeatmapSettings:
    """The settings whose map points best, of those that name heads and layers; among equals the one with most of its
    heat on the boxes. Its ``heads`` are the best ones in any case."""
    trace = examples[0][1].trace
    assert trace is not None
    layers, heads = trace.image.shape[1:3]
    singles = [(layer, head) for layer in range(layers) for head in range(heads)]
    by_head = sorted(
        singles, key=lambda head: _mean_score(examples, HeatmapSettings("heads", heads=(head,))), reverse=True
    )
    candidates = [
        HeatmapSettings("raw"),
        HeatmapSettings("mean"),
        HeatmapSettings("localised"),
        HeatmapSettings("last"),
    ]
    candidates += [HeatmapSettings("queries")] if trace.patch_weights is not None else []
    candidates += [HeatmapSettings(method, (layer,)) for method in ("mean", "localised") for layer in range(layers)]
    combined = [HeatmapSettings("heads", heads=tuple(by_head[:count])) for count in BEST_HEADS if count <= len(singles)]
    best_heads = max(combined, key=lambda settings: _mean_score(examples, settings))
    best = max([*candidates, best_heads], key=lambda settings: _mean_score(examples, settings))
    return replace(best, heads=best_heads.heads)


def _fitted(examples: Examples) -> HeatmapSettings:
    """All heads, by fitted weights."""
    logs = np.stack([log_shares(_last_rows(item, answer)) for item, answer in examples])
    coverage = np.stack([head_weights.cover(answer.view, item.boxes) for item, answer in examples])
    in_picture = np.stack([inside(answer.view) for _, answer in examples])
    return HeatmapSettings(
        "weighted", weights=head_weights.fit(logs, coverage, in_picture, [item.kind for item, _ in examples])
    )


def _cross_validated(examples: Examples, fit: Callable[[Examples], HeatmapSettings]) -> float:
    """How well the map points on items that the settings were not fitted on: on each half by those of the other."""
    parts = [
        [(item, answer) for item, answer in examples if item in half] for half in halves([item for item, _ in examples])
    ]
    if not all(parts):
        return 0.0
    scored = []
    for half, other in (parts, parts[::-1]):
        settings = fit(other)
        scored += [(item, answer, settings) for item, answer in half]
    return _mean([item for item, *_ in scored], [_score(*triple) for triple in scored])[0]


def _mean_score(examples: Examples, settings: HeatmapSettings) -> tuple[float, float]:
    """See ``_score``; each the mean over the kinds of items."""
    return _mean([item for item, _ in examples], [_score(item, answer, settings) for item, answer in examples])


def _score(item: Item, answer: Answer, settings: HeatmapSettings) -> tuple[float, float]:
    """How much of the hottest patch the boxes cover, and the share of the heat on them: patch by patch, since hundreds
    of maps are compared; 0..1 both."""
    cells = np.where(inside(answer.view), _cells(item, answer, settings), 0.0)
    covered = head_weights.cover(answer.view, item.boxes)
    total = cells.sum()
    if not np.isfinite(total) or not np.ptp(cells[inside(answer.view)]) > 0:
        return 0.0, 0.0  # a flat map points nowhere
    return float(covered[cells.argmax()]), float((cells * covered).sum() / max(total, 1e-12))


def _mean(items: Sequence[Item], pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    kinds = sorted({item.kind for item in items})
    means = [np.mean([pair for item, pair in zip(items, pairs, strict=True) if item.kind == kind], 0) for kind in kinds]
    covered, share = np.mean(means, 0)
    return float(covered), float(share)


def _cells(item: Item, answer: Answer, settings: HeatmapSettings) -> np.ndarray:
    """The map that the answer would draw of the item's phrase if these settings were its checkpoint's."""
    assert answer.trace is not None
    return replace(answer, trace=replace(answer.trace, settings=settings)).cells(item.phrase or "")


def _last_rows(item: Item, answer: Answer) -> np.ndarray:
    """The rows that a map of weighted heads is drawn of."""
    assert answer.trace is not None
    return answer.trace.ending(0, answer.steps(item.phrase or ""))
