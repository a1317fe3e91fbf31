"""POPE: yes-or-no questions about what is and what is not in a scene, with three degrees of plausible absent things.

After Li et al. 2023 (https://arxiv.org/abs/2305.10355, section 4): half of the questions name a thing that is there;
the other half one that is not, drawn at random, from the most frequent things of all pictures, or from those that go
best with what is there (here: its shape and its colour both occur in the picture, on other things).
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from vlm_demo.training.worlds.scenes import draw_scene
from vlm_demo.training.worlds.world import COLOURS, SHAPES, DrawnPicture, article

SORTS = ("random", "popular", "adversarial")
CLEAR = 0.6  # the share of a thing that must be seen, or "is there" has no sure answer
COUNTED = 300  # pictures in which things are counted, to find the popular ones

Name = tuple[str, str]  # colour and shape


def popular(seed: int) -> list[Name]:
    """The names of things, the most frequent first, in pictures that nothing else uses."""
    counts = Counter(
        (thing.colour, thing.shape)
        for i in range(COUNTED)
        for thing in draw_scene(np.random.default_rng([seed, 98, i])).things
    )
    return [name for name, _ in counts.most_common()]


def pope_items(picture: DrawnPicture, rng: np.random.Generator, frequent: list[Name]) -> list[dict]:
    """For each of SORTS a question about a thing that is there and one about a thing that is not; none of a picture
    in which something is half hidden."""
    if not picture.things or any(thing.visible < CLEAR for thing in picture.things):
        return []
    present = sorted({(thing.colour, thing.shape) for thing in picture.things})
    colours, shapes = sorted({colour for colour, _ in present}), sorted({shape for _, shape in present})
    absent = {
        "random": [(colour, shape) for colour in COLOURS for shape in SHAPES],
        "popular": frequent[:40],
        "adversarial": [(colour, shape) for colour in colours for shape in shapes],
    }
    items = []
    for sort in SORTS:
        names = [name for name in absent[sort] if name not in present]
        if not names:
            continue
        for answer, choices in (("yes", present), ("no", names)):
            colour, shape = choices[int(rng.integers(len(choices)))]
            question = f"Is there {article(f'{colour} {shape}')} in the image?"
            items.append({"question": question, "answer": answer, "kind": f"pope {sort}", "metric": "exact"})
    return items
