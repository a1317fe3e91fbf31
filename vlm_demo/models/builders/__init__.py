"""Builders: a recipe, trained weights and pretrained parts → the files of an ordinary Hugging Face checkpoint.

A family is one more file with a ``build`` function and one more line in ``BUILDERS``; where its folder lies, when it is
whole and what else goes into it, ``models.embedded`` knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vlm_demo.errors import UnsupportedModel
from vlm_demo.models.download import Progress

if TYPE_CHECKING:
    from torch import Tensor

RECIPE = "recipe.json"

# The family in a recipe → the module of this package that builds it.
BUILDERS = {"llava": "llava", "clip": "clip", "blip2": "blip2", "idefics": "idefics"}
# Bytes that a checkpoint takes on top of its parts' and what was trained, in bf16: the key and value heads that Idefics
# repeats.
UNFOLDED = {"idefics": 27_000_000}


class Misfit(Exception):
    """Trained weights do not fit the parts that they are for; the message names which."""


@dataclass(frozen=True)
class Recipe:
    """What an embedded model is put together from.

    Attributes:
        family: a key of ``BUILDERS``, and the module in ``adapters`` that runs the result.
        language_model: a key of ``parts.PARTS``, what reads the words; of a clip the text tower.
        vision_tower: a key of ``parts.PARTS`` that ``towers.TOWERS`` has too.
        image_size: pixels of the square that the tower sees.
        lora_alpha: what the LoRA updates are scaled by, over their rank; 0 = there are none.
        text_encoder: a key of ``parts.PARTS``, what the Q-Former of a blip2 begins with; empty = there is no Q-Former.
        language_layers: how many of the language model's layers are kept, see ``smollm2.shortened``; 0 = all.
    """

    family: str
    language_model: str
    vision_tower: str
    image_size: int
    lora_alpha: float = 0.0
    text_encoder: str = ""
    language_layers: int = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """The pretrained parts that it needs."""
        return tuple(filter(None, (self.language_model, self.vision_tower, self.text_encoder)))


class Build(Protocol):
    """A family's ``build``."""

    def __call__(
        self, recipe: Recipe, trained: Mapping[str, Tensor], parts: Mapping[str, Path], folder: Path, report: Progress
    ) -> None:
        """Write configuration, weights, tokenizer and processor into ``folder``.

        Args:
            trained: what this project trained, by name; see the family's module.
            parts: name of a pretrained part → its weight file.
            report: called with a fraction 0..1 and a few words on the step that begins.
        Raises:
            Misfit: the trained weights do not fit the parts.
            UnsupportedModel: a part is damaged.
        """


def read_recipe(file: Path) -> Recipe:
    """The recipe in a JSON file.

    Raises:
        UnsupportedModel: it is damaged, or of a family that no builder knows.
    """
    try:
        recipe = Recipe(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UnsupportedModel(f"The {RECIPE} of {file.parent.name} is damaged: fetch the project again.") from error
    if recipe.family not in BUILDERS:
        raise UnsupportedModel(
            f"The {RECIPE} of {file.parent.name} is of a family {recipe.family}, which nothing here puts together: "
            f"choose one of {', '.join(BUILDERS)}."
        )
    return recipe


def builder_of(recipe: Recipe) -> Build:
    """The function that builds a recipe's family."""
    build: Callable[..., None] = import_module(f"{__name__}.{BUILDERS[recipe.family]}").build
    return build
