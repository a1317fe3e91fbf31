"""Aligned pictures: which are selected, their words, and that rehearsing them keeps these."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.kit.tiny_parts import SIDE, TOKENS, write_folder, write_photographs
from vlm_demo.training import aligned_pictures
from vlm_demo.training.aligned_pictures import (
    Classifier,
    box_loss,
    gather,
    imagenet_classifier,
    select_pictures,
    tokens_of_boxes,
)
from vlm_demo.training.alignment import Vocabulary
from vlm_demo.training.branches import BranchPacker
from vlm_demo.training.finetune import Trainer
from vlm_demo.training.mixture import Mixture
from vlm_demo.training.trained_parts import Parts, Projector


@pytest.fixture
def data(parts: Parts, tmp_path: Path) -> Mixture:
    """Sixty captioned photographs, and thirty labelled with an action."""
    write_photographs(tmp_path, 60)
    write_folder(tmp_path / "stanford40", [{"labels": {"action": "riding a horse"}}] * 30)
    return Mixture([tmp_path], BranchPacker(parts.tokenizer, TOKENS), SIDE)


def test_labelled_pictures_are_all_taken_and_others_fill_up(data: Mixture) -> None:
    selected = select_pictures(data, 50, seed=0)
    labelled = [path for path, item in selected if "labels" in item]
    assert len(labelled) == len(data.folders["stanford40"].items) > 20
    assert len(selected) == 50 and len({path for path, _ in selected}) == 50
    assert selected == select_pictures(data, 50, seed=0) != select_pictures(data, 50, seed=1)


def test_a_classifier_names_what_it_is_sure_of() -> None:
    classifier = Classifier(torch.eye(3) * 4, torch.zeros(3), ("tabby", "Persian cat", "sea lion"))
    features = torch.zeros(3, 2, 5)  # channels beyond the classifier's are another level's
    features[0, :, 1] = 1
    features[1, :, 3] = 9
    features[2, :, [0, 2]] = 1
    all_words = {"tabby", "persian", "cat", "sea", "lion"}
    assert classifier(features) == [{"persian", "cat"}, all_words, {"tabby", "sea", "lion"}]


def test_classes_are_named_by_a_folder_of_one_picture_each(data: Mixture, tmp_path: Path) -> None:
    layer = torch.zeros(2, 4), torch.zeros(2)
    assert imagenet_classifier(layer, data) is None
    write_folder(tmp_path / "imagenet", [{"labels": {"object": name}} for name in ("tench", "goldfish")])
    with_imagenet = Mixture([tmp_path], data.packer, SIDE)
    named = imagenet_classifier(layer, with_imagenet)
    assert named is not None and named.names == ["tench", "goldfish"]
    assert imagenet_classifier((torch.zeros(3, 4), torch.zeros(3)), with_imagenet) is None  # another list of classes
    assert imagenet_classifier(None, with_imagenet) is None


def test_the_rehearsal_teaches_words_from_features_kept_in_a_file(
    parts: Parts, data: Mixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aligned_pictures, "REHEARSED", 16)
    embeddings = parts.llm.get_input_embeddings().weight.detach()
    encode = BranchPacker(parts.tokenizer, 0).encode
    calls: list[int] = []

    def encoded(pixels: list[np.ndarray]) -> torch.Tensor:
        calls.append(len(pixels))
        return parts.features(pixels)

    def gathered() -> aligned_pictures.AlignedPictures:
        file = tmp_path / "aligned.features"
        return gather(data, 60, 0, file, encoded, lambda word_sets: Vocabulary(word_sets, embeddings, encode))

    rehearsal = gathered()
    assert sum(calls) == len(rehearsal.features) + 1
    calls.clear()
    torch.testing.assert_close(gathered().features, rehearsal.features)
    assert sum(calls) == 1  # a shape is asked for, no more

    torch.manual_seed(0)
    projector = Projector(rehearsal.features.shape[2], embeddings.shape[1])
    projector.standardize(rehearsal.features.flatten(0, 1))
    optimizer = torch.optim.Adam(projector.parameters(), 1e-2)
    first = rehearsal.loss(projector, [0, 0])
    torch.testing.assert_close(rehearsal.loss(projector, [0, 0]), first)
    for step in range(60):
        loss = rehearsal.loss(projector, [0, step])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.7 * first


def test_a_step_of_fine_tuning_rehearses(parts: Parts, data: Mixture, tmp_path: Path) -> None:
    trainer = Trainer(parts, data, data, tmp_path / "run")
    samples = [data.sample(0, i) for i in range(2)]
    recent: dict[str, list[float]] = defaultdict(list)
    trainer.learn(samples, recent)
    assert "words" not in recent
    trainer.gather(40)
    trainer.learn(samples, recent)
    assert len(recent["words"]) == 1


def test_boxes_have_the_tokens_whose_centres_lie_in_them() -> None:
    boxes = [("room", 0.0, 0.0, 1.0, 1.0), ("dog", 0.5, 0.0, 1.0, 0.5), ("ball", 0.01, 0.76, 0.03, 0.78)]
    assert tokens_of_boxes(boxes, 2) == [("room", [0, 3]), ("dog", [1]), ("ball", [2])]
    assert tokens_of_boxes([("dog", 0.0, 0.0, 1.0, 1.0), ("cat", 0.1, 0.1, 0.9, 0.9)], 2) == [("cat", [0, 1, 2, 3])]
    assert tokens_of_boxes([], 2) == []


def test_tokens_in_a_box_are_taught_the_words_of_its_name(parts: Parts, tmp_path: Path) -> None:
    items = [{"captions": ["a cat here"], "boxes": [["dog", 0.0, 0.0, 0.5, 1.0]]} for _ in range(24)]
    write_folder(tmp_path / "coco_val2017_people", items)
    data = Mixture([tmp_path], BranchPacker(parts.tokenizer, TOKENS), SIDE)
    trainer = Trainer(parts, data, data, tmp_path / "run")
    trainer.rehearse_batches()
    words = trainer.batch_words
    assert words is not None and {"dog", "cat"} <= words.vocabulary.index.keys()
    sample = data.sample(0, 0)
    vectors = {word: words.vocabulary.vectors[words.vocabulary.index[word]] + words.vocabulary.mean for word in
               ("dog", "cat")}  # fmt: skip
    mirrored = sample.boxes[0][1] == 0.5
    left, right = ("cat", "dog") if mirrored else ("dog", "cat")
    fitting = torch.stack([vectors[left], vectors[right], vectors[left], vectors[right]])[None]
    swapped = fitting[:, [1, 0, 3, 2]]
    assert box_loss(words.vocabulary, [sample], fitting) < box_loss(words.vocabulary, [sample], swapped) - 1
    assert torch.allclose(words.loss([sample], fitting), words.loss([sample], swapped))
    assert box_loss(words.vocabulary, [dataclasses.replace(sample, boxes=())], fitting) == 0
    recent: dict[str, list[float]] = defaultdict(list)
    trainer.learn([sample], recent)
    assert len(recent["words"]) == 1
