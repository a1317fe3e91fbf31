"""Out of distribution: near training pictures 1, far from them 0, nothing where the checkpoint has no file."""

import math
import shutil
from pathlib import Path

import pytest
import torch

from tests.kit.tiny import tiny_idefics
from vlm_demo import Pipeline
from vlm_demo.errors import UnsupportedModel
from vlm_demo.explain import out_of_distribution
from vlm_demo.explain.out_of_distribution import TrainingPictures


def kept(bank: torch.Tensor, threshold: float) -> TrainingPictures:
    """A bank in which every channel is a component."""
    return TrainingPictures(
        torch.eye(bank.shape[1]), torch.nn.functional.normalize(bank, dim=1), torch.tensor(threshold)
    )


def test_pooled_is_the_root_of_the_mean_over_patches() -> None:
    features = torch.tensor([[[0.0, 32.0, -2.0, 9.0], [18.0, 0.0, -4.0, 9.0]]])
    assert out_of_distribution.pooled(features, 3)[0].tolist() == pytest.approx([3 / 5, 4 / 5, 0])
    assert out_of_distribution.pooled(features.expand(5, 2, 4), 4).shape == (5, 4)


def test_the_score_is_that_of_the_third_neighbour_against_the_threshold() -> None:
    bank = torch.tensor([[1.0, 0], [1, 0], [0.6, 0.8], [0, 1]])
    features = torch.tensor([[9.0, 0, 5], [9, 0, 5]])  # what lies beyond the basis's channels does not count
    assert kept(bank, 0.5).score(features) == pytest.approx(1 / (1 + math.exp(-2)))
    assert kept(bank, 0.6).score(features) == pytest.approx(0.5)
    assert kept(bank[:1], 0.9).score(features) == pytest.approx(1 / (1 + math.exp(-2)))  # fewer than three


def test_the_checkpoints_file_decides(checkpoint: Path, tmp_path: Path, noise) -> None:
    plain = Pipeline.from_pretrained(checkpoint)
    view = plain.view(noise(60, 60))
    assert plain.in_distribution(view) is None
    folder = shutil.copytree(checkpoint, tmp_path / "with pictures")
    channels = plain.stages().encoder(view).features.shape[-1]
    seen = out_of_distribution.pooled(plain.stages().encoder(view).features[:1], channels)
    other = plain.view(noise(60, 60, 5))
    against = float(seen @ out_of_distribution.pooled(plain.stages().encoder(other).features[:1], channels).T)
    out_of_distribution.save(folder, kept(seen, (1 + against) / 2))
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.in_distribution(view) > 0.5 > pipe.in_distribution(other)


def test_a_class_token_is_no_part_of_it(tmp_path: Path, noise) -> None:
    bank = torch.rand(8, 64, generator=torch.Generator().manual_seed(0))
    out_of_distribution.save(tiny_idefics(tmp_path), kept(bank, 0.6))
    pipe = Pipeline.from_pretrained(tmp_path)
    view = pipe.view(noise(60, 60))
    features, expected = pipe.stages().encoder(view).features[0], out_of_distribution.load(tmp_path)
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
