"""Prepare: a recipe and folders of pictures → the parts that a run trains, and its samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from vlm_demo.errors import VlmDemoError
from vlm_demo.models import minilm, parts
from vlm_demo.models.builders import Recipe
from vlm_demo.models.download import Progress
from vlm_demo.models.pretrained import language_model, vision_tower
from vlm_demo.training.branches import BranchPacker
from vlm_demo.training.mixture import Mixture


class Training(Protocol):
    """A module that trains one family of models that answer.

    Attributes:
        compose: (tower, language model, tokenizer, where the recipe has one the text encoder, and as ``init`` a
            ``trained.safetensors`` to begin with or None) → what is trained.
        image_tokens: the tower's config → how many tokens stand for the picture in the text.
    """

    compose: Callable[..., Any]
    image_tokens: Callable[[Any], int]


def prepare(
    recipe: Recipe, training: Training, roots: Sequence[Path], init: Path | None, progress: Progress
) -> tuple[Any, Mixture, Mixture]:
    """The parts, and the mixtures of the pictures that are trained on and of those held out.

    Args:
        roots: folders of annotated pictures, see ``mixture.Mixture``.
        init: a ``trained.safetensors`` to begin with.
    Raises:
        VlmDemoError: there are no annotated pictures.
        UnsupportedModel, ModelNotFound: see ``parts.find``.
    """
    tower = vision_tower(recipe.vision_tower, recipe.image_size, progress)
    llm, tokenizer = language_model(recipe.language_model, progress, recipe.language_layers)
    text_encoder = [minilm.read(parts.find(recipe.text_encoder, progress))] if recipe.text_encoder else []
    composed = training.compose(tower, llm, tokenizer, *text_encoder, init=init)
    packer = BranchPacker(tokenizer, training.image_tokens(tower.config))
    data, held = (Mixture(roots, packer, recipe.image_size, held, fill=tower.fill) for held in (False, True))
    if not data.names or not held.names:
        raise VlmDemoError(f"There are no annotated pictures in {', '.join(map(str, roots))}; see train-shards.")
    return composed, data, held
