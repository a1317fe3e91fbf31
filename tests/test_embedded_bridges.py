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
from vlm_demo.evaluation.answers import matches

COLOURS = ("red", "green", "blue", "yellow")
WRITERS = ("blip2", "idefics")
EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"


@cache
def load(name: str) -> Pipeline:
    return Pipeline.from_pretrained(name)


@pytest.mark.parametrize("name", WRITERS)
def test_it_names_the_colour_of_a_circle_that_its_generator_did_not_draw(name: str) -> None:
    answers = [load(name).ask(disc(colour), "What color is the circle?").text for colour in COLOURS]
    assert sum(matches("exact", text, (colour,)) for text, colour in zip(answers, COLOURS, strict=True)) >= 3


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_not_there_is_unknown_under_the_rule(name: str) -> None:
    answers = [load(name).ask(disc(colour), "What color is the star?", evidence_only=True).text for colour in COLOURS]
    assert answers.count("unknown") >= 3


@pytest.mark.parametrize("name", WRITERS)
def test_its_maps_have_the_uploads_size(name: str) -> None:
    answer = load(name).ask(disc("red"), "What color is the circle?")
    assert answer.heatmap(0).shape == (240, 500) and answer.heatmap(0).max() == 1


@pytest.mark.parametrize("name", ("clip",))
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
    scores = load("blip2").score(disc("red"), ["one red circle", "many screens"])
    assert scores.matches is not None and 0 <= scores.matches[1] < scores.matches[0] <= 1
