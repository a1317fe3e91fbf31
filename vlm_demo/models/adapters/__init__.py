"""Adapters: for each architecture, where its encoder, bridge and language model are.

A new architecture is one more file and one more line in ``ADAPTERS``; nothing else in the project knows its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from PIL import Image

from vlm_demo.contracts import BridgeInfo, ImageTokens, PatchFeatures, Prompt, View
from vlm_demo.errors import UnsupportedModel
from vlm_demo.models.adapters.generate_only import GenerateOnly
from vlm_demo.models.patch_geometry import Cut

# Of each picture [tokens, d_llm], or of all of them where they have as many [pictures, tokens, d_llm].
Bridged: TypeAlias = torch.Tensor | Sequence[torch.Tensor]

# Architecture in a checkpoint's config.json → module of this package and the adapter's class in it.
ADAPTERS = {
    "LlavaForConditionalGeneration": ("llava", "Llava"),
    "Blip2ForConditionalGeneration": ("blip2", "Blip2"),
    "EfficientNetBlip2ForConditionalGeneration": ("blip2", "EfficientNetBlip2"),
    "IdeficsForVisionText2Text": ("idefics", "Idefics"),
    "EfficientNetIdeficsForVisionText2Text": ("idefics", "EfficientNetIdefics"),
    "CLIPModel": ("clip", "Clip"),
    "VisionTextDualEncoderModel": ("clip", "DualEncoder"),
    "SiglipModel": ("siglip", "Siglip"),
    "Idefics3ForConditionalGeneration": ("idefics3", "Idefics3"),
    "SmolVLMForConditionalGeneration": ("smolvlm", "SmolVlm"),
    "LlavaNextForConditionalGeneration": ("llava_next", "LlavaNext"),
    "LlavaOnevisionForConditionalGeneration": ("llava_onevision", "LlavaOnevision"),
    "Qwen2_5_VLForConditionalGeneration": ("qwen2_5_vl", "Qwen25Vl"),
    "Qwen3VLForConditionalGeneration": ("qwen3_vl", "Qwen3Vl"),
    "PaliGemmaForConditionalGeneration": ("paligemma", "PaliGemma"),
    "Gemma3ForConditionalGeneration": ("gemma3", "Gemma3"),
    "InternVLForConditionalGeneration": ("internvl", "InternVl"),
    "InstructBlipForConditionalGeneration": ("instructblip", "InstructBlip"),
    "MllamaForConditionalGeneration": ("mllama", "Mllama"),
}


class StagesUnknown(Exception):
    """``check`` raises it where a model can answer, but its stages can't be run one by one."""


class Matcher(Protocol):
    """The part of a model that compares pictures with texts.

    Attributes:
        longest: tokens of a text.
        temperature: what similarities are divided by before the softmax.
        tokenizer: what splits these texts where that is not the checkpoint's own tokenizer, or None.
        layers: the blocks that read texts, between which the computing may be stopped.
        parts: modules that are not part of the loaded model itself, for counting their memory.
    """

    longest: int
    temperature: float
    tokenizer: Any
    layers: list[torch.nn.Module]
    parts: tuple[torch.nn.Module, ...]

    def picture(self, features: torch.Tensor) -> torch.Tensor:
        """The encoder's features [1, patches, d_vision] → vectors [vectors, d], whose nearest one to a text counts."""

    def texts(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids [texts, length], padded on the right, and their mask → vectors [texts, d]."""

    def matches(self, features: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor | None:
        """The probability [texts] that a text fits the picture, read together; None where there is no such head."""


class Family(Protocol):
    """What the stages need to know of a model. One that writes no answers has all that is here; see ``Writer``.

    Attributes:
        name: the family's short name.
        writes: whether it writes answers.
        as_a_whole: whether it does so in one piece, by ``pipeline.whole``, without stages.
        bridge_info: how its pictures get into the language model.
        encoder_layers: the blocks between which the computing may be stopped.
        leading_tokens: features of each picture before the first that stands for a patch (a CLS token).
        joint_tiles: whether the tiles of a picture see each other in the encoder; ``encode`` is then given those of one
            picture, and their (rows, columns).
        keep_unquantized: full paths of the modules that quantization leaves alone.
        matcher: what compares pictures with texts, or None.
    """

    name: str
    writes: bool
    as_a_whole: bool
    bridge_info: BridgeInfo
    encoder_layers: list[torch.nn.Module]
    leading_tokens: int
    joint_tiles: bool
    keep_unquantized: tuple[str, ...]
    matcher: Matcher | None

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        """Adapt a model loaded from ``folder``."""

    @staticmethod
    def model_class() -> Any:
        """The transformers class that loads the checkpoint."""

    @staticmethod
    def check(config: Any) -> None:
        """Raise ``UnsupportedModel`` where the architecture is right and its parts are not, or ``StagesUnknown``."""

    def cut(self, processor: Any, image: Image.Image) -> Cut:
        """Lay an upload out as the encoder gets it: the processor's pixels, and where in the upload each patch lies."""

    def encode(self, pixel_values: torch.Tensor, tiling: tuple[int, int] = (1, 1)) -> torch.Tensor:
        """[tiles, 3, h, w] → [tiles, patches, d_vision]."""


class Writer(Family, Protocol):
    """A family that writes answers.

    Attributes:
        bridge_layers, language_layers: the blocks between which the computing may be stopped.
        language_model: takes ``inputs_embeds`` and a cache, returns ``last_hidden_state``.
        head: hidden states → logits.
        context: the longest sequence in tokens, prompt and answer together.
        image_token_id: the id in whose places image tokens go.
        placeholder: what the chat template writes for a picture; None = that token.
        fallback_template: the family's own chat template, for checkpoints that carry none.
        tapped: the parts whose attention is recorded.
        bridge_attentions: the bridge's attention modules, [tokens × patches]; empty where each token is one patch.
        image_attentions: the language model's attention modules that attend to pictures; None = all of them.
        among_words: whether image tokens stand among the words; or else they, and nothing else, are the keys of
            ``image_attentions``.
        bridge_reads: whether the bridge reads the question too; ``bridge`` is then given the prompt.
        sees_ahead: whether words see what comes after them, so that a prompt must be read in one piece.
        pictures_see_ahead: whether the tokens of a picture see all of it, so that it must be read in one piece.
        picture_layers: the layers of the cache that hold what pictures left, and nothing of the words.
    """

    bridge_layers: list[torch.nn.Module]
    language_layers: list[torch.nn.Module]
    language_model: Any
    head: torch.nn.Module
    context: int
    image_token_id: int
    placeholder: str | None
    fallback_template: str
    tapped: tuple[torch.nn.Module, ...]
    bridge_attentions: frozenset[torch.nn.Module]
    image_attentions: frozenset[torch.nn.Module] | None
    among_words: bool
    bridge_reads: bool
    sees_ahead: bool
    pictures_see_ahead: bool
    picture_layers: frozenset[int]

    def placeholders(self, view: View) -> int | str:
        """What stands in the prompt for a picture: so many image tokens, or a text with them in it."""

    def bridge(self, patches: PatchFeatures, prompt: Prompt | None = None) -> Bridged | tuple[Bridged, torch.Tensor]:
        """The image tokens of each picture, and where the family has it what ``ImageTokens.deep`` holds."""

    def language_model_inputs(
        self, image_tokens: ImageTokens, prompt: Prompt, positions: range
    ) -> dict[str, torch.Tensor]:
        """What the language model is given in addition to the embeddings of the tokens at ``positions``."""


def adapter_of(config: Any) -> type[Any]:
    """The adapter, a ``Family``, ``Writer`` or ``GenerateOnly``, for a checkpoint's config.

    Raises:
        UnsupportedModel: no adapter runs this architecture; says which ones can be run.
    """
    for architecture in config.architectures or ():
        if architecture in ADAPTERS:
            module, name = ADAPTERS[architecture]
            adapter = getattr(import_module(f"{__name__}.{module}"), name)
            try:
                adapter.check(config)
            except StagesUnknown:
                return GenerateOnly
            return adapter
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return GenerateOnly
    named = ", ".join(config.architectures or ()) or f"of type {getattr(config, 'model_type', 'unknown')}"
    raise UnsupportedModel(
        f"This checkpoint is {named}, which cannot be run here: choose one of {', '.join(ADAPTERS)}."
    )


def of_family(family: str) -> type[Any]:
    """The adapter of a family, which is the name of a module here; the first one where it has several."""
    module, name = next(entry for entry in ADAPTERS.values() if entry[0] == family)
    return getattr(import_module(f"{__name__}.{module}"), name)


def blocks(module: torch.nn.Module, count: int) -> list[torch.nn.Module]:
    """The module's blocks: its first list of ``count`` modules."""
    lists = (child for child in module.modules() if isinstance(child, torch.nn.ModuleList))
    return list(next(found for found in lists if len(found) == count))
