"""Alignment: image tokens move to the embeddings of their picture's words."""

from __future__ import annotations

import re

import pytest
import torch

from vlm_demo.training.alignment import Vocabulary, align, words_of
from vlm_demo.training.trained_parts import Projector

NAMES = ("dog", "cat", "car", "tree", "bus", "boat")
WIDTH, CHANNELS = 16, 8


@pytest.fixture
def vocabulary() -> Vocabulary:
    """Six words, each the name of every sixth of 160 pictures; embeddings whose mean is far from 0."""
    embeddings = torch.randn(len(NAMES), WIDTH, generator=torch.Generator().manual_seed(1)) + 3
    word_sets = [{NAMES[i % 6]} for i in range(160)]
    return Vocabulary(word_sets, embeddings, lambda text: [NAMES.index(text.strip())])


def pictures(vocabulary: Vocabulary) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [160, 3, channels] in which one token shows what the picture is, and the targets."""
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(160, 3, CHANNELS, generator=generator)
    prototypes = torch.randn(6, CHANNELS, generator=generator) * 3
    features[torch.arange(160), torch.randint(3, (160,), generator=generator)] = prototypes[torch.arange(160) % 6]
    return features.bfloat16(), torch.stack([vocabulary.targets({NAMES[i % 6]}) for i in range(160)])


def aligned(vocabulary: Vocabulary, epochs: int) -> tuple[Projector, list[float]]:
    torch.manual_seed(0)
    projector, lines = Projector(CHANNELS, WIDTH), []
    align(projector, *pictures(vocabulary), vocabulary, epochs, lines.append, batch=16, rate=1e-2)
    return projector, [float(re.search(r"loss ([\d.]+)", line)[1]) for line in lines]


def test_the_loss_falls_and_a_token_points_at_its_word(vocabulary: Vocabulary) -> None:
    projector, losses = aligned(vocabulary, 8)
    assert losses[-1] < 0.3 < 1.0 < losses[0]
    features, targets = pictures(vocabulary)
    with torch.no_grad():
        tokens = torch.nn.functional.normalize(projector(features.float()) - vocabulary.mean, dim=-1)
    nearest = (tokens @ torch.nn.functional.normalize(vocabulary.vectors, dim=1).T).amax(1).argmax(1)
    assert (nearest == targets.argmax(1)).float().mean() > 0.9


def test_the_last_bias_holds_the_mean_embedding(vocabulary: Vocabulary) -> None:
    moved, _ = aligned(vocabulary, 1)
    mean, vocabulary.mean = vocabulary.mean, torch.zeros(WIDTH)
    still, _ = aligned(vocabulary, 1)
    assert mean.abs().min() > 1
    torch.testing.assert_close(moved.linear_2.bias - still.linear_2.bias, mean)
    torch.testing.assert_close(moved.linear_2.weight, still.linear_2.weight)


def test_words_are_those_of_the_annotations_without_stop_words() -> None:
    item = {
        "captions": ["Two men on the sofa with a Dog."],
        "boxes": [["diningtable", 0, 0, 1, 1]],
        "labels": {"things": ["hot dog"], "action": "riding a bike"},
        "qa": [["Is it a cat?", "no"]],
    }
    assert words_of(item) == {"men", "sofa", "dog", "dining", "table", "hot", "riding", "bike"}


def test_seldom_words_are_left_out_and_several_share_a_target() -> None:
    word_sets = [{"dog", "cat"}] * 5 + [{"emu"}] * 2
    vocabulary = Vocabulary(word_sets, torch.randn(9, WIDTH), lambda text: [len(text), len(text) - 1])
    assert vocabulary.words == ["cat", "dog"]
    assert vocabulary.targets({"dog", "cat", "emu"}).tolist() == [0.5, 0.5] and vocabulary.targets(
        {"emu"}
    ).tolist() == [0, 0]
    assert vocabulary.bias.tolist() == pytest.approx([torch.tensor(5 / 7).log().item()] * 2)


def test_standardizing_gives_every_channel_mean_0_and_spread_1() -> None:
    torch.manual_seed(0)
    projector = Projector(CHANNELS, WIDTH)
    before = projector.linear_1.weight.detach().clone(), projector.linear_1.bias.detach().clone()
    features = torch.randn(500, CHANNELS) * torch.arange(1, CHANNELS + 1) + 7
    projector.standardize(features)
    expected = torch.nn.functional.linear((features - features.mean(0)) / features.std(0), *before)
    torch.testing.assert_close(projector.linear_1(features), expected, atol=5e-3, rtol=5e-3)
