"""Contrastive training: the loss, the pictures that may be used, what is stored on disk, and heads that learn."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from tests.kit import composed, minilm_files
from tests.kit.tiny_parts import write_photographs
from vlm_demo.errors import VlmDemoError
from vlm_demo.models import embedded, minilm
from vlm_demo.models.builders.clip import PLACES
from vlm_demo.models.builders.towers import Tower
from vlm_demo.models.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel
from vlm_demo.models.pretrained import VisionTower
from vlm_demo.training import contrastive
from vlm_demo.training.contrastive import Heads, Pairs, PhotoTexts, fit, info_nce, photos, recall, texts_of
from vlm_demo.training.photos_split import held_out
from vlm_demo.training.recipes import RECIPES


def unit(rows: int, width: int = 8, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


class TestLoss:
    def test_with_different_texts_it_is_transformers_own(self) -> None:
        pictures, texts, scale = unit(6), unit(6, seed=1), torch.tensor(2.0)
        expected = image_text_contrastive_loss(texts @ pictures.T * scale.exp())
        torch.testing.assert_close(info_nce(pictures, texts, torch.arange(6), scale), expected)

    def test_pictures_of_one_text_share_what_is_right(self) -> None:
        pictures, texts, scale = unit(3), unit(2, seed=1)[[0, 0, 1]], torch.tensor(1.0)
        scores = pictures @ texts.T * scale.exp()
        right = torch.tensor([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])
        expected = (cross_entropy(scores, right) + cross_entropy(scores.T, right)) / 2
        torch.testing.assert_close(info_nce(pictures, texts, torch.tensor([4, 4, 1]), scale), expected)


class TestPhotos:
    @pytest.mark.parametrize(
        ("item", "texts"),
        [
            ({"captions": ["A dog.", "Two dogs."], "labels": {"things": ["dog"]}}, ("A dog.", "Two dogs.")),
            ({"labels": {"action": "riding_a_bike"}}, ("a person riding a bike",)),
            ({"labels": {"object": "dog", "style": "painting"}}, ("a painting of a dog",)),
            ({"labels": {"object": "motorbike"}}, ("a photo of a motorcycle",)),
            ({"labels": {"garment": "undershirt"}}, ("a photo of an undershirt",)),
            (
                {"boxes": [["dog", 0, 0, 1, 1], ["sofa", 0, 0, 1, 1], ["dog", 0, 0, 1, 1]]},
                ("a photo of a dog and a couch",),
            ),
            ({"labels": {"things": ["horse"]}}, ()),
        ],
    )
    def test_texts_of_a_picture(self, item: dict, texts: tuple[str, ...]) -> None:
        assert texts_of(item) == texts

    def test_held_out_photographs_are_never_trained_on(self, tmp_path: Path) -> None:
        write_photographs(tmp_path, 60)
        chosen, held = photos([tmp_path]), photos([tmp_path], held=True)
        assert len(chosen) + len(held) == 60 and held and len(photos([tmp_path], limit=7)) == 7
        for photographs, expected in ((chosen, False), (held, True)):
            assert all(held_out("flickr8k", f"img/{photo.path.name}") == expected for photo in photographs)
        assert photos([tmp_path]) == chosen and photos([tmp_path], seed=1) != chosen
        with pytest.raises(VlmDemoError, match="no photographs with words"):
            photos([tmp_path / "flickr8k"])


def test_heads_have_the_names_that_the_builder_takes() -> None:
    assert Heads(12, 8, 4).state_dict().keys() == PLACES.keys()


def test_pictures_learn_to_find_their_texts() -> None:
    """Each picture's vector hides in one token of six, turned by a matrix that is the same for all."""
    generator = torch.Generator().manual_seed(0)
    texts = torch.randn(260, 16, generator=generator)
    rows = torch.randn(260, 6, 24, generator=generator) * 0.3
    rows[torch.arange(260), torch.randint(6, (260,), generator=generator)] += texts @ torch.randn(
        16, 24, generator=generator
    )
    captions = tuple((i,) for i in range(260))
    data = Pairs(rows[:200].half(), texts, captions[:200])
    held = Pairs(rows[200:].half(), texts, captions[200:])
    torch.manual_seed(0)
    heads, reported = Heads(24, 16, 64), []
    before = recall(heads, held)["text to picture"]
    fit(heads, data, held, reported.append, epochs=40, batch=100)
    assert before < 0.2 and len(reported) == 40 and reported[-1]["loss"] < reported[0]["loss"] / 2
    assert min(reported[-1]["held_out"].values()) > 0.6
    assert abs(heads.logit_scale.item() + math.log(contrastive.TEMPERATURE)) > 0.05  # it is learned


def test_a_run_is_read_once_trained_and_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = EfficientNetLiteConfig(
        stages=((1, 3, 1, 1, 8), (1, 3, 4, 2, 8), (1, 3, 2, 2, 8), (1, 3, 2, 2, 16)),
        stem=8,
        head=32,
        fine_stage=2,
        image_size=64,
    )
    torch.manual_seed(0)
    half = (0.5, 0.5, 0.5)
    small = Tower(config, EfficientNetLiteModel(config).state_dict(), half, half, 0)
    minilm_files.write(tmp_path / "model.zip")
    monkeypatch.setattr(contrastive, "vision_tower", lambda *_: VisionTower(small).eval())
    monkeypatch.setattr(contrastive.parts, "find", lambda *_: tmp_path / "model.zip")
    write_photographs(tmp_path / "photos", 60)
    roots, recipe, printed = [tmp_path / "photos"], replace(RECIPES["clip"], image_size=64), []
    arguments = photos(roots), photos(roots, held=True), tmp_path / "run", recipe, 2, 16
    contrastive.run(*arguments, log=printed.append)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines == [json.loads(line) for line in printed] and [line.get("epoch") for line in lines] == [None, 1, 2]
    assert lines[0]["texts"] == 8 and lines[0]["pictures"] + lines[0]["pictures_held_out"] == 60
    assert all(math.isfinite(line["loss"]) for line in lines[1:])
    monkeypatch.setattr(VisionTower, "forward", lambda *_: pytest.fail("the pictures were read again"))
    contrastive.run(*arguments, log=printed.append)

    contrastive.export(tmp_path / "run", tmp_path / "clip", recipe)
    assert embedded.builders.read_recipe(tmp_path / "clip" / "recipe.json") == recipe
    assert embedded.is_composed(tmp_path / "clip")


def test_tokens_and_texts_are_the_outputs_of_the_towers(tmp_path: Path) -> None:
    """Also of those at random places, and in the order in which they were asked for."""
    minilm_files.write(tmp_path / "model.zip")
    write_photographs(tmp_path, 4)
    chosen = [
        PhotoTexts(tmp_path / "flickr8k" / "img" / f"{i:05}.png", ("a red star and a dog", "two")) for i in range(2)
    ]
    config = EfficientNetLiteConfig(image_size=96)
    tower = VisionTower(Tower(config, EfficientNetLiteModel(config).state_dict(), *[(0.5,) * 3] * 2, 0)).eval()
    all_tokens, sampled = (
        contrastive.picture_rows(tower, chosen, 96, count, tmp_path / f"{count}.npy") for count in (None, 4)
    )
    assert all_tokens.shape == (2, 9, composed.SEEN) and sampled.shape == (2, 4, composed.SEEN)
    for row, tokens in zip(all_tokens, sampled, strict=True):
        assert all((row == token).all(1).any() for token in tokens)
    text = minilm.read(tmp_path / "model.zip")
    together = contrastive.text_rows(text, ["a red star and a dog", "two"], tmp_path / "texts.npy")
    alone = contrastive.text_rows(text, ["two"], tmp_path / "alone.npy")
    assert torch.allclose(together[1], alone[0], atol=1e-2) and not torch.allclose(together[0], alone[0], atol=0.1)
