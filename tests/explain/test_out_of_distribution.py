"""Out of distribution: near training pictures 1, far from them 0, nothing where the checkpoint has no file."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.kit.tiny import tiny_idefics
from vlm_demo import Pipeline
from vlm_demo.errors import UnsupportedModel
from vlm_demo.explain import out_of_distribution
from vlm_demo.explain.out_of_distribution import TrainingPictures
from vlm_demo.runtime.pixel_view import PixelView


def kept(bank: torch.Tensor, threshold: float) -> TrainingPictures:
    """A bank in which every channel is a component."""
    width = bank.shape[1]
    rows = torch.nn.functional.normalize(bank, dim=1)
    return TrainingPictures(torch.eye(width), rows, torch.tensor(threshold), width)


def soft_features(pipe: Pipeline, view: PixelView) -> torch.Tensor:
    soft = replace(view, pixel_values=out_of_distribution.softened(view.pixel_values))
    return pipe.stages().encoder(soft).features


def pooled_soft(pipe: Pipeline, view: PixelView) -> torch.Tensor:
    features = soft_features(pipe, view)[:1]
    return out_of_distribution.pooled(features, features.shape[-1])


def test_pooled_is_the_mean_of_the_last_level_beside_mean_and_deviation_of_the_finer_ones() -> None:
    features = torch.tensor([[[0.0, 6.0, 1.0], [6.0, 2.0, 3.0]]])
    assert out_of_distribution.pooled(features[..., :2], 2)[0].tolist() == pytest.approx([3 / 5, 4 / 5])
    # The third channel's mean is 2 and its deviation 1.
    expected = torch.tensor([3 / 5, 4 / 5, 2 / 5**0.5, 1 / 5**0.5]) / 2**0.5
    torch.testing.assert_close(out_of_distribution.pooled(features, 2)[0], expected)
    assert out_of_distribution.pooled(features.expand(5, 2, 3), 2).shape == (5, 4)


def test_softened_pixels_keep_flat_ground_and_lose_what_is_finer_than_a_pixel_of_three_quarters() -> None:
    flat, checked = torch.full((1, 3, 24, 24), 0.7), (torch.arange(24) % 2).float().expand(2, 3, 24, 24)
    torch.testing.assert_close(out_of_distribution.softened(flat), flat)
    soft = out_of_distribution.softened(checked)
    assert soft.shape == checked.shape and soft.std() < 0.6 * checked.std()
    wide = (torch.arange(24) // 12).float().expand(1, 3, 24, 24)
    assert (out_of_distribution.softened(wide) - wide).abs().mean() < 0.05
    patches = torch.rand(16, 588)
    assert out_of_distribution.softened(patches) is patches


def test_the_score_is_that_of_the_second_neighbour_against_the_threshold() -> None:
    bank = torch.tensor([[1.0, 0], [0.6, 0.8], [0, 1]])
    features = torch.tensor([[9.0, 0], [9, 0]])
    assert kept(bank, 0.5).score(features) == pytest.approx(1 / (1 + math.exp(-2)))
    assert kept(bank, 0.6).score(features) == pytest.approx(0.5)
    assert kept(bank[:1], 0.9).score(features) == pytest.approx(1 / (1 + math.exp(-2)))  # fewer than two


def test_the_checkpoints_file_decides(checkpoint: Path, tmp_path: Path, noise) -> None:
    plain = Pipeline.from_pretrained(checkpoint)
    view = plain.view(noise(60, 60))
    assert plain.in_distribution(view) is None
    folder = shutil.copytree(checkpoint, tmp_path / "with pictures")
    other = plain.view(noise(60, 60, 5))
    seen, unseen = (pooled_soft(plain, picture) for picture in (view, other))
    against = float(seen @ unseen.T)
    out_of_distribution.save(folder, kept(seen, (1 + against) / 2))
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.in_distribution(view) > 0.5 > pipe.in_distribution(other)


def test_a_class_token_is_no_part_of_it(tmp_path: Path, noise) -> None:
    bank = torch.rand(8, 64, generator=torch.Generator().manual_seed(0))
    out_of_distribution.save(tiny_idefics(tmp_path), kept(bank, 0.6))
    pipe = Pipeline.from_pretrained(tmp_path)
    view = pipe.view(noise(60, 60))
    features, expected = soft_features(pipe, view)[0], out_of_distribution.load(tmp_path)
    assert pipe.in_distribution(view) == pytest.approx(expected.score(features[1:]), abs=1e-5)
    assert pipe.in_distribution(view) != pytest.approx(expected.score(features), abs=1e-5)


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    assert out_of_distribution.load(tmp_path) is None
    out_of_distribution.save(tmp_path, kept(torch.ones(2, 4), 0.5))
    whole = (tmp_path / out_of_distribution.FILE).read_bytes()
    for damaged in (b"", b"no tensors at all", whole[:-4], whole.replace(b"bank", b"sank")):
        (tmp_path / out_of_distribution.FILE).write_bytes(damaged)
        with pytest.raises(UnsupportedModel, match=rf"{out_of_distribution.FILE} of {tmp_path.name} is damaged"):
            out_of_distribution.load(tmp_path)
