"""World: does a picture look like the ones that an embedded model was trained on?

A linear reader of the encoder's pooled patch features, fitted after training and kept beside the weights. A low score
is a warning that the answer is a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vlm_demo.errors import UnsupportedModel

FILE = "world.safetensors"


@dataclass(frozen=True)
class TrainingDistribution:
    """``weight`` [2d] and ``bias`` [1] of the reader: positive on pictures of the world, negative on others."""

    weight: Tensor
    bias: Tensor

    def score(self, features: Tensor) -> float:
        """0..1 for one picture's patch features [patches, d]; below 0.5 it is outside the world."""
        return float((pooled(features) @ self.weight.float() + self.bias.float()).sigmoid())


def pooled(features: Tensor) -> Tensor:
    """Patch features [..., patches, d] → their mean and standard deviation over the patches, side by side [..., 2d]."""
    features = features.float()
    return torch.cat([features.mean(-2), features.std(-2, correction=0)], -1)


def load(folder: Path) -> TrainingDistribution | None:
    """The checkpoint's world, or None where it has none.

    Raises:
        UnsupportedModel: its file is damaged.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        held = load_file(file)
        return TrainingDistribution(held["weight"], held["bias"])
    except (SafetensorError, OSError, KeyError) as error:
        raise UnsupportedModel(
            f"The {FILE} of {folder.resolve().name} is damaged: fetch the checkpoint again, or delete this file."
        ) from error


def save(folder: Path, world: TrainingDistribution) -> None:
    """Write the world beside a checkpoint's weights."""
    save_file({"weight": world.weight.contiguous(), "bias": world.bias.contiguous()}, folder / FILE)
