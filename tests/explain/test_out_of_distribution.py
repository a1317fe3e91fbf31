"""The world score: near training pictures 1, far from them 0, nothing where the checkpoint has no file."""

import math
import shutil
from pathlib import Path

import pytest
import torch

from tests.kit.tiny import tiny_idefics
from vlm_demo import Pipeline
from vlm_demo.errors import UnsupportedModel
from vlm_demo.explain import out_of_distribution
from vlm_demo.training.fit_out_of_distribution import fit


def test_pooled_is_mean_and_deviation_over_patches() -> None:
    features = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    assert out_of_distribution.pooled(features).tolist() == [2, 2, 1, 0]
    assert out_of_distribution.pooled(features.expand(5, 2, 2)).shape == (5, 4)


def test_the_score_is_the_readers_sigmoid() -> None:
    made = out_of_distribution.TrainingDistribution(torch.tensor([2.0, 0.0]), torch.tensor([-2.0]))
    scores = [made.score(torch.tensor([[x], [x]])) for x in (0.0, 1.0, 4.0)]
    assert scores == pytest.approx([1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-6))])


def test_the_fitted_reader_finds_the_direction_that_tells_them_apart() -> None:
    torch.manual_seed(0)
    inside = torch.arange(400) < 200
    features = torch.randn(400, 6) * 3 + 10
    features[:, 2] = torch.where(inside, 1.0, -1.0) + 0.2 * torch.randn(400)
    made = fit(features, inside)
    assert (((features @ made.weight + made.bias) > 0) == inside).all()
    assert made.weight.abs().argmax() == 2


def test_the_checkpoints_file_decides(checkpoint: Path, tmp_path: Path, noise) -> None:
    plain = Pipeline.from_pretrained(checkpoint)
    view = plain.view(noise(60, 60))
    assert plain.in_world(view) is None
    folder = shutil.copytree(checkpoint, tmp_path / "with world")
    seen = out_of_distribution.pooled(plain.encoder(view).features[0])
    other = plain.view(noise(60, 60, 5))
    apart = seen - out_of_distribution.pooled(plain.encoder(other).features[0])
    out_of_distribution.save(
        folder, out_of_distribution.TrainingDistribution(apart, -(apart @ seen - apart.square().sum() / 2)[None])
    )
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.in_world(view) > 0.5 > pipe.in_world(other)


def test_a_class_token_is_no_part_of_it(tmp_path: Path, noise) -> None:
    reader = out_of_distribution.TrainingDistribution(
        torch.randn(128, generator=torch.Generator().manual_seed(0)) * 0.01, torch.zeros(1)
    )
    out_of_distribution.save(tiny_idefics(tmp_path), reader)
    pipe = Pipeline.from_pretrained(tmp_path)
    view = pipe.view(noise(60, 60))
    features = pipe.encoder(view).features[0]
    assert pipe.in_world(view) == pytest.approx(reader.score(features[1:]), abs=1e-5)
    assert pipe.in_world(view) != pytest.approx(reader.score(features), abs=1e-5)


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    assert out_of_distribution.load(tmp_path) is None
    out_of_distribution.save(tmp_path, out_of_distribution.TrainingDistribution(torch.zeros(4), torch.zeros(1)))
    whole = (tmp_path / out_of_distribution.FILE).read_bytes()
    for damaged in (b"", b"no tensors at all", whole[:-4], whole.replace(b"weight", b"height")):
        (tmp_path / out_of_distribution.FILE).write_bytes(damaged)
        with pytest.raises(UnsupportedModel, match=rf"{out_of_distribution.FILE} of {tmp_path.name} is damaged"):
            out_of_distribution.load(tmp_path)
