"""Heatmaps: which way of joining a checkpoint's attention points best at the thing that a word names.

Measured on scenes drawn for this choice alone, neither trained on nor held out; the winner is written beside the
weights and is the default from then on.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from vlm_demo.evaluation.pointing import hit
from vlm_demo.explain.heatmap import SETTINGS_FILE, Settings, draw
from vlm_demo.synthetic.export import POINTING_SIZE, pointing_items
from vlm_demo.synthetic.scenes import draw_scene

SCENES = 120


def choose(checkpoint: Path, seed: int) -> dict[str, float]:
    """Try every single layer, all layers, and the localised heads; write the best to ``vlm_demo.json``.

    Returns:
        Each candidate's share of scenes whose hottest point lies on the named thing.
    """
    from vlm_demo.pipeline import Pipeline

    engine = Pipeline.from_pretrained(str(checkpoint))
    hits: dict[str, list[bool]] = {}
    candidates: dict[str, Settings] = {}
    for number in range(SCENES):
        rng = np.random.default_rng([seed, 6, number])
        picture = draw_scene(rng, POINTING_SIZE)
        for item in pointing_items(picture, rng):
            answer = engine.explain(picture.image, item["question"], item["phrase"])
            assert answer.trace is not None
            rows = answer.trace.rows(0)
            if not candidates:
                depth = rows.shape[1]
                candidates = {f"layer {i + 1}": Settings("mean", (i,)) for i in range(depth)}
                candidates |= {f"heads of layer {i + 1}": Settings("localised", (i,)) for i in range(depth)}
                candidates |= {"all layers": Settings("mean"), "localised heads": Settings("localised")}
            for name, settings in candidates.items():
                hits.setdefault(name, []).append(hit(draw(rows, answer.view, settings), item["boxes"]))
    shares = {name: float(np.mean(values)) for name, values in hits.items()}
    best = max(shares, key=lambda name: shares[name])
    settings = replace(candidates[best])
    content = {
        "heatmap": {"method": settings.method, "layers": None if settings.layers is None else list(settings.layers)},
        "pointing_on_choice_scenes": {name: round(share, 3) for name, share in shares.items()},
    }
    (checkpoint / SETTINGS_FILE).write_text(json.dumps(content, indent=1) + "\n")
    return shares
