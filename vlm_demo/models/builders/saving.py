"""Saving: what builders share when they write a folder, from a model's weights to its image processor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vlm_demo.models import smollm2
from vlm_demo.models.builders import Misfit
from vlm_demo.models.builders.pixels import image_processor
from vlm_demo.models.builders.towers import Tower

if TYPE_CHECKING:
    from transformers import GenerationConfig

LONGEST_ANSWER = 128  # tokens


def filled(model: torch.nn.Module, weights: Mapping[str, Tensor]) -> Any:
    """The model with these weights in bf16 instead of its own, each under its exact name.

    Raises:
        Misfit: a name or a shape is not the model's, or one of the model's is missing.
    """
    try:
        model.load_state_dict({name: tensor.bfloat16() for name, tensor in weights.items()}, assign=True)
    except RuntimeError as error:  # torch's only error for names and shapes that do not fit
        raise Misfit(str(error)) from error
    return model


def generation_config(language: smollm2.LanguageModel) -> GenerationConfig:
    """Greedy decoding of at most ``LONGEST_ANSWER`` tokens."""
    from transformers import GenerationConfig

    tokenizer = language.tokenizer
    return GenerationConfig(
        do_sample=False,
        max_new_tokens=LONGEST_ANSWER,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def save(
    model: Any,
    language: smollm2.LanguageModel,
    tower: Tower,
    image_size: int,
    folder: Path,
    extra_weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write model, tokenizer with its chat template, and image processor.

    Args:
        extra_weights: more weights that go into the same file.
    """
    model.tie_weights()
    model.generation_config = generation_config(language)
    more = {name: tensor.bfloat16().contiguous() for name, tensor in (extra_weights or {}).items()}
    model.save_pretrained(folder, state_dict=model.state_dict() | more)
    language.tokenizer.save_pretrained(folder)
    image_processor(tower, image_size).save_pretrained(folder)
