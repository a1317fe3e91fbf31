"""Out of distribution: does a picture look like any of those that an embedded model was trained on?

The cosine of its pooled patch features with those of its nearest training pictures (deep nearest neighbours: Sun et al.
2022, https://arxiv.org/abs/2204.06507); what lies outside the training pictures' principal components counts as unlike
all of them. Fitted after training and stored with the weights; no out-of-distribution picture is needed. A low score
warns that the answer is a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vlm_demo.errors import UnsupportedModel

FILE = "training_pictures.safetensors"
NEIGHBOURS = 3
SHARPNESS = 20.0  # of the step from 0 to 1: a cosine that lies 0.1 above the threshold scores 0.88


@dataclass(frozen=True)
class TrainingPictures:
    """What is kept of training pictures.

    Attributes:
        basis: [channels, components], orthonormal columns.
        bank: [pictures, components], their pooled features in this basis; rows of length 1 at most.
        threshold: [], the cosine with the NEIGHBOURS-th nearest picture below which a picture is outside.
    """

    basis: Tensor
    bank: Tensor
    threshold: Tensor

    def cosine(self, features: Tensor) -> Tensor:
        """The cosine with the NEIGHBOURS-th nearest training picture, -1..1.

        Args:
            features: pooled features [n, channels], see ``pooled``.
        Returns:
            [n].
        """
        return (
            (features @ self.basis.float() @ self.bank.float().T)
            .topk(min(NEIGHBOURS, len(self.bank)), dim=1)
            .values[:, -1]
        )

    def score(self, features: Tensor) -> float:
        """0..1 for one picture's patch features [patches, channels or more]; below 0.5 it is outside."""
        cosine = self.cosine(pooled(features[None], len(self.basis)))
        return float(((cosine - self.threshold.float()) * SHARPNESS).sigmoid())


def pooled(features: Tensor, channels: int) -> Tensor:
    """Patch features [n, patches, channels or more] → the square root of the first channels' mean over the patches,
    [n, channels], rows of length 1; a negative mean counts as 0. The root keeps few strong channels from deciding
    alone."""
    mean = features[..., :channels].float().mean(1)
    return torch.nn.functional.normalize(mean.clamp_min(0).sqrt(), dim=1)


def load(folder: Path) -> TrainingPictures | None:
    """What the checkpoint keeps of its training pictures, or None where it keeps nothing.

    Raises:
        UnsupportedModel: its file is damaged.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        tensors = load_file(file)
        return TrainingPictures(tensors["basis"], tensors["bank"], tensors["threshold"])
    except (SafetensorError, OSError, KeyError) as error:
        raise UnsupportedModel(
            f"The {FILE} of {folder.resolve().name} is damaged: fetch the checkpoint again, or delete this file."
        ) from error


def save(folder: Path, pictures: TrainingPictures) -> None:
    """Write what is stored with a checkpoint's weights, as bfloat16."""
    tensors = {"basis": pictures.basis, "bank": pictures.bank}
    halved = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()}
    save_file(halved | {"threshold": pictures.threshold.float()}, folder / FILE)
