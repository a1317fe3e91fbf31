"""Heatmaps: scenes for choosing a checkpoint's default map, neither trained on nor held out.

What is done with them is `evaluation.select_method`, as `python -m vlm_demo evaluate FOLDER --pointing --choose` does
it with any folder. `python -m vlm_demo train heatmaps FOLDER` writes such a folder of these scenes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vlm_demo.training.worlds.held_out import POINTING_SIZE, pointing_items
from vlm_demo.training.worlds.questions import ask
from vlm_demo.training.worlds.scenes import draw_scene
from vlm_demo.training.worlds.world import DrawnPicture

SCENES = 120  # of each sort: phrases that are given, and right words for asked questions
SEED = 7  # what the embedded models are trained from
QUESTION_KINDS = ("colour", "shape", "where")  # questions that a word answers and whose thing can be pointed at


def draw(folder: Path, seed: int, scenes: int = SCENES) -> None:
    """Write ``folder/img`` and ``folder/items.jsonl``: so many scenes with a phrase that is given, and as many with the
    right words for an asked question; no scene has both."""
    (folder / "img").mkdir(parents=True, exist_ok=True)
    makers: tuple[Callable[[DrawnPicture, np.random.Generator], list[dict]], ...] = (pointing_items, _question_item)
    remaining, number = [scenes] * len(makers), 0
    with (folder / "items.jsonl").open("w") as handle:
        while any(remaining):
            rng = np.random.default_rng([seed, 6, number])
            picture, sort = draw_scene(rng, POINTING_SIZE), int(np.argmax(remaining))
            name = f"img/{number:05}.png"
            for item in makers[sort](picture, rng):
                picture.image.save(folder / name)
                handle.write(json.dumps({"image": name, **item}) + "\n")
                remaining[sort] -= 1
            number += 1


def _question_item(picture: DrawnPicture, rng: np.random.Generator) -> list[dict]:
    """One question about a single thing, with its right answer as the phrase."""
    for question in ask(picture, 8, rng):
        things = question.about
        if question.kind in QUESTION_KINDS and len(things) == 1 and question.guess is None:
            box = [round(edge, 1) for edge in picture.things[things[0]].box]
            return [{"question": question.text, "kind": "asked", "phrase": question.answer, "boxes": [box]}]
    return []
