"""Choice: which map of recorded rows a checkpoint should draw by default, and how well each method then does.

Chosen on every second item and scored on the others, so that the winner's score owes nothing to having been chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vlm_demo.errors import VlmDemoError
from vlm_demo.evaluation import pointing
from vlm_demo.evaluation.items import Item, Skipped
from vlm_demo.evaluation.maps import Comparison, compare, explained
from vlm_demo.explain import methods
from vlm_demo.explain.heatmap import Settings, combine, interpolate

if TYPE_CHECKING:
    from vlm_demo import Pipeline
    from vlm_demo.answer import Answer

BEST_HEADS = (1, 2, 3, 5)  # how many of the heads that point best are joined


def choose(
    pipe: Pipeline, folder: Path, items: Sequence[Item], names: Sequence[str] | None = None, progress: bool = True
) -> tuple[Settings, Comparison]:
    """Try all layers, each layer, and the single heads that point best, and join the best of these.

    Args:
        items: pointing items.
        names: the methods to be scored beside it; None = every free one.
    Returns:
        The settings, with the scores of the second half, and that half's comparison.
    Raises:
        VlmDemoError: there are too few items to choose on one half and score on the other, or no heatmaps.
    """
    if len(items) < 4:
        raise VlmDemoError(f"{len(items)} pointing items are too few to choose by: give a folder with more of them.")
    skipped: list[Skipped] = []
    seen = [(item, answer) for item, answer, _ in explained(pipe, folder, items[::2], skipped, progress)]
    if not seen:
        raise VlmDemoError(f"No pointing item could be read ({skipped[0].reason}); mend the folder.")
    settings = _best(seen)
    wanted = list(names) if names else [method.name for method in methods.TABLE if method.free]
    found = compare(pipe, folder, items[1::2], skipped, names=wanted, settings=settings, progress=progress)
    scores = {
        name: round(float(np.mean(own.hits)), 4) for name, own in found.figures.items() if name in methods.BY_NAME
    }
    scored = len(next(iter(found.figures.values())).hits) if found.figures else 0
    return replace(settings, scores=scores, scored=scored), found


def _best(seen: Sequence[tuple[Item, Answer]]) -> Settings:
    """The settings whose map points right most often; among equals the one whose map lies best on the boxes."""
    trace = seen[0][1].trace
    assert trace is not None
    layers, heads = trace.image.shape[1:3]
    singles = [(layer, head) for layer in range(layers) for head in range(heads)]
    by_head = sorted(singles, key=lambda own: _measured(seen, Settings("heads", heads=(own,))), reverse=True)
    candidates = [Settings("raw"), Settings("mean"), Settings("localised"), Settings("last")]
    candidates += [Settings("queries")] if trace.looks is not None else []
    candidates += [Settings(way, (layer,)) for way in ("mean", "localised") for layer in range(layers)]
    joined = [Settings("heads", heads=tuple(by_head[:count])) for count in BEST_HEADS if count <= len(singles)]
    best_heads = max(joined, key=lambda own: _measured(seen, own))
    best = max([*candidates, best_heads], key=lambda own: _measured(seen, own))
    return replace(best, heads=best_heads.heads)


def _measured(seen: Sequence[tuple[Item, Answer]], settings: Settings) -> tuple[float, float]:
    """Share of hits, and mean overlap with the boxes."""
    hits, overlaps = [], []
    for item, answer in seen:
        heat = interpolate(_cells(answer, item.phrase or "", settings), answer.view)
        hits.append(pointing.hit(heat, item.boxes))
        overlaps.append(pointing.iou(heat, pointing.area(item.boxes, answer.view.size)))
    return float(np.mean(hits)), float(np.mean(overlaps))


def _cells(answer: Answer, phrase: str, settings: Settings) -> np.ndarray:
    assert answer.trace is not None
    if settings.method in ("raw", "queries"):
        chosen, request = methods.request(answer, phrase, method=settings.method)
        return chosen.cells(request)
    return combine(answer.trace.rows(0, answer.steps(phrase)), answer.view.grid, settings)
