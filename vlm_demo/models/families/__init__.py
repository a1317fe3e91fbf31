"""Families: for each architecture, where its encoder, bridge and language model live.

A new architecture is one more file and one more line in ``ADAPTERS``; nothing else in the project knows its name.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch

from vlm_demo.contracts import BridgeNote, ImageTokens, Prompt
from vlm_demo.errors import UnsupportedModel

# Architecture in a checkpoint's config.json → module of this package and the adapter's class in it.
ADAPTERS = {
    "LlavaForConditionalGeneration": ("llava", "Llava"),
    "Blip2ForConditionalGeneration": ("blip2", "Blip2"),
    "IdeficsForVisionText2Text": ("idefics", "Idefics"),
    "CLIPModel": ("clip", "Clip"),
}


class Matcher(Protocol):
    """The part of a model that compares pictures with texts.

    Attributes:
        longest: tokens of a text.
        temperature: what similarities are divided by before the softmax.
        layers: the blocks that read texts, between which the computing may be stopped.
        parts: modules that are not part of the loaded model itself, for counting their memory.
    """

    longest: int
    temperature: float
    layers: list[torch.nn.Module]
    parts: tuple[torch.nn.Module, ...]

    def picture(self, features: torch.Tensor) -> torch.Tensor:
        """The encoder's features [1, patches, d_vision] → vectors [vectors, d], whose nearest one to a text counts."""

    def texts(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids [texts, length], padded on the right, and their mask → vectors [texts, d]."""

    def matches(self, features: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor | None:
        """The probability [texts] that a text fits the picture, read together; None where there is no such head."""


class Family(Protocol):
    """What the stages need to know of a model. One that writes no answers has all up to ``grid``; see ``Writer``.

    Attributes:
        name: the family's short name.
        writes: whether it writes answers.
        note: how its pictures get into the language model.
        encoder_layers: the blocks between which the computing may be stopped.
        leading_tokens: features of each picture before the first that stands for a patch (a CLS token).
        keep_unquantized: full paths of the modules that quantization leaves alone.
        matcher: what compares pictures with texts, or None.
    """

    name: str
    writes: bool
    note: BridgeNote
    encoder_layers: list[torch.nn.Module]
    leading_tokens: int
    keep_unquantized: tuple[str, ...]
    matcher: Matcher | None

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        """Adapt a model loaded from ``folder``."""

    @staticmethod
    def model_class() -> Any:
        """The transformers class that loads the checkpoint."""

    @staticmethod
    def check(config: Any) -> None:
        """Raise ``UnsupportedModel`` where the architecture is right and its parts are not."""

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """[pictures, 3, h, w] → [pictures, patches, d_vision]."""

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) of the patches for pixel values of this size."""


class Writer(Family, Protocol):
    """A family that writes answers.

    Attributes:
        bridge_layers, language_layers: the blocks between which the computing may be stopped.
        language_model: takes ``inputs_embeds`` and a cache, returns ``last_hidden_state``.
        head: hidden states → logits.
        context: the longest sequence in tokens, prompt and answer together.
        image_token_id: the placeholder's id.
        fallback_template: the family's own chat template, for checkpoints that carry none.
        tapped: the parts whose attention is listened to.
        bridge_attentions: the attentions of the bridge, [tokens × patches]; empty where each token is one patch.
        looking: the attentions of the language model that look at pictures; None = all of them.
        among_words: whether image tokens stand among the words; or else they, and nothing else, are the keys of
            ``looking``.
    """

    bridge_layers: list[torch.nn.Module]
    language_layers: list[torch.nn.Module]
    language_model: Any
    head: torch.nn.Module
    context: int
    image_token_id: int
    fallback_template: str
    tapped: tuple[torch.nn.Module, ...]
    bridge_attentions: frozenset[torch.nn.Module]
    looking: frozenset[torch.nn.Module] | None
    among_words: bool

    def placeholders(self, patches: int) -> int:
        """How many placeholders stand in the prompt for a picture of so many patches."""

    def bridge(self, features: torch.Tensor) -> torch.Tensor:
        """[pictures, patches, d_vision] → [pictures, tokens, d_llm]."""

    def beside(self, image_tokens: ImageTokens, prompt: Prompt, positions: range) -> dict[str, torch.Tensor]:
        """What the language model is given beside the embeddings of the tokens at ``positions``."""


def adapter_of(config: Any) -> type[Any]:
    """The adapter, a ``Family`` or ``Writer``, for a checkpoint's config.

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


def blocks(module: torch.nn.Module, count: int) -> list[torch.nn.Module]:
    """The module's blocks: its first list of ``count`` modules."""
    lists = (child for child in module.modules() if isinstance(child, torch.nn.ModuleList))
    return list(next(found for found in lists if len(found) == count))
