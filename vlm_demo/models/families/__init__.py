"""Families: for each architecture, where its encoder, bridge and language model live.

A new architecture is one more file and one more line in ``ADAPTERS``; nothing else in the project knows its name.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

import torch

from vlm_demo.errors import UnsupportedModel

# Architecture in a checkpoint's config.json → module of this package and the adapter's class in it.
ADAPTERS = {"LlavaForConditionalGeneration": ("llava", "Llava")}


class Family(Protocol):
    """What the stages need to know of a model.

    Attributes:
        name: the family's short name.
        encoder_layers, language_layers: the blocks between which the computing may be stopped.
        language_model: takes ``inputs_embeds`` and a cache, returns ``last_hidden_state``.
        head: hidden states → logits.
        context: the longest sequence in tokens, prompt and answer together.
        image_token_id: the placeholder's id.
        fallback_template: the family's own chat template, for checkpoints that carry none.
        keep_unquantized: full paths of the modules that quantization leaves alone.
        leading_tokens: image tokens of each picture before the first that stands for a patch (a CLS token).
    """

    name: str
    encoder_layers: list[torch.nn.Module]
    language_layers: list[torch.nn.Module]
    language_model: Any
    head: torch.nn.Module
    context: int
    image_token_id: int
    leading_tokens: int
    fallback_template: str
    keep_unquantized: tuple[str, ...]

    def __init__(self, model: Any) -> None:
        """Adapt a loaded model."""

    @staticmethod
    def model_class() -> Any:
        """The transformers class that loads the checkpoint."""

    @staticmethod
    def check(config: Any) -> None:
        """Raise ``UnsupportedModel`` where the architecture is right and its parts are not."""

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """[pictures, 3, h, w] → [pictures, patches, d_vision]."""

    def bridge(self, features: torch.Tensor) -> torch.Tensor:
        """[pictures, patches, d_vision] → [pictures, tokens, d_llm]."""

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) of the image tokens for pixel values of this size."""


def adapter_of(config: Any) -> type[Family]:
    """The adapter for a checkpoint's config.

    Raises:
        UnsupportedModel: no adapter runs this architecture; says which ones can be run.
    """
    for architecture in config.architectures or ():
        if architecture in ADAPTERS:
            module, name = ADAPTERS[architecture]
            adapter = getattr(import_module(f"{__name__}.{module}"), name)
            adapter.check(config)
            return adapter
    named = ", ".join(config.architectures or ()) or f"of type {getattr(config, 'model_type', 'unknown')}"
    raise UnsupportedModel(
        f"This checkpoint is {named}, which cannot be run here: choose one of {', '.join(ADAPTERS)}."
    )
