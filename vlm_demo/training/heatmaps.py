"""Heatmaps: which way of joining a checkpoint's attention points best at the thing that a word names.

Measured on scenes drawn for this choice alone, neither trained on nor held out; the winner is written beside the
weights and is the default from then on.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vlm_demo.evaluation.pointing import hit
from vlm_demo.explain.heatmap import SETTINGS_FILE, Settings, draw
from vlm_demo.synthetic.export import POINTING_SIZE, pointing_items
from vlm_demo.synthetic.questions import ask
from vlm_demo.synthetic.scenes import draw_scene
from vlm_demo.synthetic.world import Picture

SCENES = 120
ASKED = ("colour", "shape", "where")  # questions that a word answers and whose thing can be pointed at


def choose(checkpoint: Path, seed: int) -> dict[str, float]:
    """Try every layer, all layers, the localised heads and each single head, on phrases given as the answer and on the
    right words for asked questions alike; write the best to ``vlm_demo.json``.

    Returns:
        Each candidate's share of questions whose hottest point lies on the named thing: the mean over both sorts.
    """
    from vlm_demo.pipeline import Pipeline

    engine = Pipeline.from_pretrained(str(checkpoint))
    hits: dict[str, tuple[list[bool], list[bool]]] = {}
    candidates: dict[str, Settings] = {}
    for number in range(SCENES):
        rng = np.random.default_rng([seed, 6, number])
        picture = draw_scene(rng, POINTING_SIZE)
        for sort, items in enumerate((pointing_items(picture, rng), _asked(picture, rng))):
            for item in items:
                answer = engine.explain(picture.image, item["question"], item["phrase"])
                assert answer.trace is not None
                rows = answer.trace.rows(0)
                candidates = candidates or _candidates(*rows.shape[1:3])
                for name, settings in candidates.items():
                    found = hit(draw(rows, answer.view, settings), item["boxes"])
                    hits.setdefault(name, ([], []))[sort].append(found)
    shares = {name: float(np.mean([np.mean(sort) for sort in both])) for name, both in hits.items()}
    best = candidates[max(shares, key=lambda name: shares[name])]
    told: dict[str, object] = {"method": best.method}
    if best.heads:
        told["heads"] = best.heads
    elif best.layers is not None:
        told["layers"] = best.layers
    table = {
        name: {"given": round(float(np.mean(given)), 3), "asked": round(float(np.mean(asked)), 3)}
        for name, (given, asked) in hits.items()
    }
    content = {"heatmap": told, "pointing_on_choice_scenes": table}
    (checkpoint / SETTINGS_FILE).write_text(json.dumps(content, indent=1) + "\n")
    return shares


def _candidates(layers: int, heads: int) -> dict[str, Settings]:
    candidates = {f"layer {i + 1}": Settings("mean", (i,)) for i in range(layers)}
    candidates |= {f"localised heads of layer {i + 1}": Settings("localised", (i,)) for i in range(layers)}
    candidates |= {"all layers": Settings("mean"), "localised heads": Settings("localised")}
    return candidates | {
        f"head {head + 1} of layer {layer + 1}": Settings("heads", heads=((layer, head),))
        for layer in range(layers)
        for head in range(heads)
    }


def _asked(picture: Picture, rng: np.random.Generator) -> list[dict]:
    """One question about a single thing, with its right answer as the phrase."""
    for question in ask(picture, 8, rng):
        things = question.looks[0][1] if question.looks else ()
        if question.kind in ASKED and len(things) == 1 and question.guess is None:
            box = picture.things[things[0]].box
            return [{"question": question.text, "phrase": question.answer, "boxes": [box]}]
    return []
