"""Captions of drawn pictures are sentences of a photograph's length, and say what is there."""

import re

import numpy as np
import pytest

from vlm_demo.training.worlds.areas import AREAS
from vlm_demo.training.worlds.lettering import draw_lettering
from vlm_demo.training.worlds.scenes import draw_scene
from vlm_demo.training.worlds.sentences import grouped, sentence
from vlm_demo.training.worlds.world import COLOURS, SHAPES, number_word

DRAWN = {name: AREAS[name].draw for name in ("scenes", "charts", "screens", "documents")}
MORE = {"lettering": draw_lettering}
DRAWN |= {name: lambda rng, held_out, make=make: make(rng) for name, make in MORE.items()}
DRAWN |= {name: lambda rng, held_out, name=name: draw_scene(rng, layout=name) for name in ("boxes", "plain")}


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_a_caption_is_one_sentence_of_eight_to_fourteen_words(name):
    for seed in range(16):
        rng = np.random.default_rng(seed)
        text = sentence(DRAWN[name](rng, False), rng)
        assert 8 <= len(text.split()) <= 14, text
        assert text[0].isupper() and text.endswith(".") and text.count(".") == 1
        assert not re.search(r"\ba [aeio]|\ban [^aeiou]", text.lower()), text


def test_equal_things_are_counted_together():
    assert grouped(["red cross"]) == "a red cross"
    assert grouped(["red cross", "orange star", "red cross"]) == "two red crosses and an orange star"


def test_a_caption_of_a_plain_scene_names_no_shape_and_no_colour_that_is_not_there():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        picture = draw_scene(rng, layout="plain")
        words = set(re.findall(r"\w+", sentence(picture, rng).lower()))
        shapes = {shape for shape in SHAPES if words & {shape, shape + "s", shape + "es"}}
        assert shapes <= {thing.shape for thing in picture.things}
        assert words & set(COLOURS) <= {picture.facts["background"], *(thing.colour for thing in picture.things)}


def test_a_caption_of_boxes_counts_what_is_in_each():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        picture = draw_scene(rng, layout="boxes")
        counts = [sum(x0 <= t.centre[0] < x1 for t in picture.things) for x0, _, x1, _ in picture.facts["boxes"]]
        *first, last = ("no" if count == 0 else number_word(count) for count in counts)
        assert f"{', '.join(first)} and {last}" in sentence(picture, rng)
