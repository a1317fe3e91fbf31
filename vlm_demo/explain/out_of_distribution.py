"""Out of distribution: does a picture look like any of those that an embedded model was trained on?

The cosine of its pooled patch features with those of its nearest training pictures (deep nearest neighbours: Sun et al.
2022, https://arxiv.org/abs/2204.06507); what lies outside the training pictures' principal components counts as unlike
all of them. Fitted after training and stored with the weights; no out-of-distribution picture is needed. A low score
warns that the answer is a guess.

Training pictures are stored small and uploads are sharper, which alone would make an upload unlike them; so all are
compared ``softened``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from vlm_demo.errors import UnsupportedModel

FILE = "training_pictures.safetensors"
NEIGHBOURS = 2
SHARPNESS = 20.0  # of the step from 0 to 1: a cosine that lies 0.1 above the threshold scores 0.88
SOFTENED = 0.75  # of the side of the pixels, to which they are made smaller


@dataclass(frozen=True)
class TrainingPictures:
    """What is kept of training pictures.

    Attributes:
        basis: [width, components], orthonormal columns; for the width see ``pooled``.
        bank: [pictures, components], their pooled features in this basis; rows of length 1 at most.
        threshold: [], the cosine with the NEIGHBOURS-th nearest picture below which a picture is outside.
        channels: of the vision encoder's last level, which come first in its patch features.
    """

    basis: Tensor
    bank: Tensor
    threshold: Tensor
    channels: int

    def cosine(self, features: Tensor) -> Tensor:
        """The cosine with the NEIGHBOURS-th nearest training picture, -1..1.

        Args:
            features: pooled features [n, width], see ``pooled``.
        Returns:
            [n].
        """
        return (
            (features @ self.basis.float() @ self.bank.float().T)
            .topk(min(NEIGHBOURS, len(self.bank)), dim=1)
            .values[:, -1]
        )

    def score(self, features: Tensor) -> float:
        """0..1 for one softened picture's patch features [patches, channels or more]; below 0.5 it is outside."""
        cosine = self.cosine(pooled(features[None], self.channels))
        return float(((cosine - self.threshold.float()) * SHARPNESS).sigmoid())


def softened(pixels: Tensor) -> Tensor:
    """Pixels [tiles, 3, h, w] made smaller and as large again; others, laid out in patches already, as they are."""
    if pixels.ndim != 4:
        return pixels
    size = pixels.shape[-2:]
    small = [max(1, round(SOFTENED * edge)) for edge in size]
    smaller = interpolate(pixels.float(), size=small, mode="bilinear", antialias=True)
    return interpolate(smaller, size=size, mode="bilinear", antialias=True).to(pixels.dtype)


def pooled(features: Tensor, channels: int) -> Tensor:
    """Patch features [n, patches, channels or more] → one row of length 1 for each picture, [n, width].

    The last level's channels by their mean over the patches, [n, channels]. An encoder with more channels, of finer
    levels, has these beside it by mean and standard deviation, and both parts count alike: textures differ there."""
    last, finer = features[..., :channels].float(), features[..., channels:].float()
    level = normalize(last.mean(1), dim=1)
    if not finer.shape[-1]:
        return level
    texture = normalize(torch.cat([finer.mean(1), finer.std(1, correction=0)], 1), dim=1)
    return torch.cat([level, texture], 1) / 2**0.5


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
        return TrainingPictures(tensors["basis"], tensors["bank"], tensors["threshold"], int(tensors["channels"]))
    except (SafetensorError, OSError, KeyError) as error:
        raise UnsupportedModel(
            f"The {FILE} of {folder.resolve().name} is damaged: fetch the checkpoint again, or delete this file."
        ) from error


def save(folder: Path, pictures: TrainingPictures) -> None:
    """Write what is stored with a checkpoint's weights, basis and bank as bfloat16."""
    tensors = {"basis": pictures.basis, "bank": pictures.bank}
    halved = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()}
    exact = {"threshold": pictures.threshold.float(), "channels": torch.tensor(pictures.channels)}
    save_file(halved | exact, folder / FILE)
