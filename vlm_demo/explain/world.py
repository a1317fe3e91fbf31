"""World: does a picture look like the ones that an embedded model was trained on?

A Gaussian over pooled patch features, fitted after training and kept beside the weights (Lee et al. 2018,
https://arxiv.org/abs/1807.03888). A low score is a warning that the answer is a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FILE = "world.safetensors"


@dataclass(frozen=True)
class World:
    """``mean`` [d] and ``precision`` [d, d] of pooled features; ``scale`` [2], the distances that score 1 and 0."""

    mean: Tensor
    precision: Tensor
    scale: Tensor

    def score(self, features: Tensor) -> float:
        """0..1 for one picture's patch features [patches, d / 2]: 1 up to the near distance, 0 from the far one."""
        distance = mahalanobis(pooled(features), self.mean, self.precision)
        near, far = self.scale.tolist()
        return float(((far - distance) / max(far - near, 1e-12)).clamp(0, 1))


def pooled(features: Tensor) -> Tensor:
    """Patch features [..., patches, d] → their mean and standard deviation over the patches, side by side [..., 2d]."""
    features = features.float()
    return torch.cat([features.mean(-2), features.std(-2, correction=0)], -1)


def mahalanobis(points: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
    """The distances [...] of points [..., d] from ``mean`` [d] under ``precision`` [d, d]."""
    offset = points.double() - mean.double()
    return torch.einsum("...i,ij,...j->...", offset, precision.double(), offset).clamp(min=0).sqrt()


def load(folder: Path) -> World | None:
    """The checkpoint's world, or None where it has none."""
    file = folder / FILE
    if not file.is_file():
        return None
    held = load_file(file)
    return World(held["mean"], held["precision"], held["scale"])


def save(folder: Path, world: World) -> None:
    """Write the world beside a checkpoint's weights."""
    tensors = {"mean": world.mean, "precision": world.precision, "scale": world.scale}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / FILE)
