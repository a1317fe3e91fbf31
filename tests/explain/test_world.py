"""The world score: near training pictures 1, far from them 0, nothing where the checkpoint has no file."""

import shutil
from pathlib import Path

import pytest
import torch

from vlm_demo import Pipeline
from vlm_demo.explain import world


def test_pooled_is_mean_and_deviation_over_patches() -> None:
    features = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    assert world.pooled(features).tolist() == [2, 2, 1, 0]
    assert world.pooled(features.expand(5, 2, 2)).shape == (5, 4)


def test_mahalanobis_against_whitening() -> None:
    torch.manual_seed(0)
    root = torch.randn(4, 4, dtype=torch.double)
    covariance = root @ root.T + torch.eye(4)
    point, mean = torch.randn(4), torch.randn(4)
    whitened = torch.linalg.solve_triangular(
        torch.linalg.cholesky(covariance), (point - mean).double()[:, None], upper=False
    )
    distance = world.mahalanobis(point, mean, torch.linalg.inv(covariance))
    assert float(distance) == pytest.approx(float(whitened.norm()), rel=1e-5)


def test_the_score_falls_between_the_two_distances() -> None:
    made = world.World(torch.zeros(2), torch.eye(2), torch.tensor([1.0, 3.0]))
    scores = [made.score(torch.tensor([[x], [x]])) for x in (0.5, 1.0, 2.0, 3.0, 9.0)]
    assert scores == pytest.approx([1, 1, 0.5, 0, 0])


def test_the_checkpoints_file_decides(checkpoint: Path, tmp_path: Path, noise) -> None:
    plain = Pipeline.from_pretrained(checkpoint)
    view = plain.view(noise(60, 60))
    assert plain.in_world(view) is None
    folder = shutil.copytree(checkpoint, tmp_path / "with world")
    seen = world.pooled(plain.encoder(view).features[0])
    world.save(folder, world.World(seen, torch.eye(len(seen)), torch.tensor([0.5, 1.0])))
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.in_world(view) == 1
    assert pipe.in_world(pipe.view(noise(60, 60, 5))) == 0
