"""The other bridges that the project ships: they see, they rank a true caption above a false one, and transformers
agrees."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, VisionTextDualEncoderModel

from tests.kit.pictures import disc
from vlm_demo import Pipeline
from vlm_demo.errors import UnsupportedModel

WRITERS = ("blip2", "idefics")
EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"


@cache
def load(name: str) -> Pipeline:
    return Pipeline.from_pretrained(name)


def test_cross_attention_tells_a_photograph_of_a_cat_from_one_of_a_drink() -> None:
    described = [
        load("idefics").ask(EXAMPLES / file, "Describe the picture.").text for file in ("cat.jpg", "coffee.jpg")
    ]
    assert ["cat" in text for text in described] == [True, False]


@pytest.mark.parametrize("name", WRITERS)
def test_its_maps_have_the_uploads_size(name: str) -> None:
    answer = load(name).ask(disc("red"), "What color is the circle?")
    assert answer.heatmap(0).shape == (240, 500) and answer.heatmap(0).max() == 1


@pytest.mark.parametrize("name", ("clip", "blip2"))
def test_a_photographs_own_texts_come_first(name: str) -> None:
    wrong = ["a dog", "a bus full of people", "a man on a surfboard", "a plate of food"]
    for file, right in {"cat.jpg": "a cat", "coffee.jpg": "a glass or cup with a drink on a table"}.items():
        scores = load(name).score(EXAMPLES / file, [right, *wrong])
        assert np.argmax(scores.similarities) == 0


def test_clips_scores_are_plain_transformers() -> None:
    folder = load("clip").folder
    model, tokenizer = VisionTextDualEncoderModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    texts = ["one red circle", "a blue circle on the left", "a chart with three bars"]
    scores = load("clip").score(disc("red"), texts)
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        plain = model(
            input_ids=inputs.input_ids,
            attention_mask=inputs.attention_mask,
            pixel_values=load("clip").view(scores.view.image).pixel_values.to(model.dtype),
        )
    expected = plain.logits_per_image[0].float().softmax(-1)
    torch.testing.assert_close(torch.tensor(scores.probabilities), expected, atol=0.02, rtol=0.02)
    assert scores.matches is None


def test_clip_says_that_it_writes_nothing() -> None:
    with pytest.raises(UnsupportedModel, match="can't write answers"):
        load("clip").ask(disc("red"), "What color is the circle?")


def test_blip2_scores_matches_too() -> None:
    scores = load("blip2").score(EXAMPLES / "cat.jpg", ["a cat", "a bus full of people"])
    assert scores.matches is not None and 0 <= scores.matches[1] < scores.matches[0] <= 1
