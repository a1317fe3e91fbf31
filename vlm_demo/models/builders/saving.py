"""Saving: what builders of frozen language models share, from the tower's weights to the folder's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vlm_demo.models import smollm2
from vlm_demo.models.builders import Misfit, Recipe, towers

MEAN = STD = 0.5  # of the three colours, over their range 0..1: what the published tower was trained with
LONGEST_ANSWER = 128  # tokens


def tower_weights(recipe: Recipe, parts: Mapping[str, Path], trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of ``EfficientNetLiteModel``, with what was trained further of it; see ``towers``."""
    tower = towers.read(recipe.vision_tower, parts[recipe.vision_tower], recipe.image_size)
    return towers.replaced(tower.weights, trained)


def filled(model: torch.nn.Module, weights: Mapping[str, Tensor]) -> torch.nn.Module:
    """A model made on the device ``meta`` with these weights in bf16, each exactly where its name says.

    Raises:
        Misfit: a name or a shape is not the model's, or one of the model's is missing.
    """
    try:
        model.load_state_dict({name: tensor.bfloat16() for name, tensor in weights.items()}, assign=True)
    except RuntimeError as error:  # torch's only word for names and shapes that do not fit
        raise Misfit(str(error)) from error
    return model


def save(
    model: torch.nn.Module,
    language: smollm2.LanguageModel,
    image_size: int,
    folder: Path,
    beside: Mapping[str, Tensor] | None = None,
) -> None:
    """Write model, tokenizer with its chat template, and image processor.

    Args:
        beside: more weights that go into the same file.
    """
    from transformers import GenerationConfig
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    tokenizer = language.tokenizer
    model.tie_weights()
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=LONGEST_ANSWER,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    more = {name: tensor.bfloat16().contiguous() for name, tensor in (beside or {}).items()}
    model.save_pretrained(folder, state_dict=model.state_dict() | more)
    tokenizer.save_pretrained(folder)
    square = {"height": image_size, "width": image_size}
    LlavaImageProcessorPil(
        do_pad=True,
        do_resize=True,
        size=square,
        do_center_crop=False,
        crop_size=square,
        resample=2,
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    ).save_pretrained(folder)
