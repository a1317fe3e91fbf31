"""Shipped recipes: what the embedded models that are put together on first use are made of, without loading one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from vlm_demo.shipped import folder


@dataclass(frozen=True)
class ShippedRecipe:
    """What one such model is made of.

    Attributes:
        vision_tower: its name among ``models.parts.PARTS``.
        trained: how many of its parameters this project trained.
    """

    vision_tower: str
    trained: int


def is_shipped(name: str) -> bool:
    """Whether an embedded model is shipped as a recipe of pretrained parts."""
    from vlm_demo.models.builders import RECIPE

    return (folder("models") / name / RECIPE).is_file()


def recipe_of(name: str) -> ShippedRecipe:
    """What the embedded model of this name is made of.

    Raises:
        UnsupportedModel: its recipe is damaged.
    """
    from vlm_demo.models.builders import RECIPE, read_recipe
    from vlm_demo.models.embedded import TRAINED

    files = folder("models") / name
    return ShippedRecipe(read_recipe(files / RECIPE).vision_tower, trained_parameters(files / TRAINED))


def trained_parameters(file: Path) -> int:
    """How many numbers a ``trained.safetensors`` holds."""
    from safetensors import safe_open

    with safe_open(file, "pt") as weights:
        return sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
