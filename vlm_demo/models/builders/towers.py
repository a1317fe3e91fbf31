"""Towers: the weight file of a pretrained vision encoder, and what was trained further of it → its state dict here."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vlm_demo.errors import UnsupportedModel
from vlm_demo.models.builders import Misfit
from vlm_demo.models.efficientnet_lite import EfficientNetLiteConfig, from_published

PREFIX = "tower."


def efficientnet_lite2(
    file: Path, trained: Mapping[str, Tensor], image_size: int
) -> tuple[EfficientNetLiteConfig, dict[str, Tensor]]:
    """EfficientNet-Lite2: its configuration, and the state dict of ``EfficientNetLiteModel``.

    Args:
        file: the published state dict, opened as tensors alone.
        trained: ``tower.`` + a name of that state dict → what replaces it; other names are passed over.
    Raises:
        UnsupportedModel: the file is damaged.
        Misfit: a trained tensor has no place there, or another shape.
    """
    config = EfficientNetLiteConfig(image_size=image_size)
    try:
        published = torch.load(file, map_location="cpu", weights_only=True)
        weights = from_published(published, config)
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise UnsupportedModel(f"{file.name} is damaged, or holds another network: fetch the file again.") from error
    return config, replaced(weights, trained)


def replaced(weights: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with the trained ones, whose names begin with ``tower.``, in their places.

    Raises:
        Misfit: a name that is not there, or another shape.
    """
    refit = {name.removeprefix(PREFIX): tensor for name, tensor in trained.items() if name.startswith(PREFIX)}
    for name, tensor in refit.items():
        if name not in weights or tensor.shape != weights[name].shape:
            raise Misfit(f"the tower has no {name} of the shape {list(tensor.shape)}")
    return {**weights, **refit}
