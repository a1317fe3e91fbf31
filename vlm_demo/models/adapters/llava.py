"""LLaVA: a ViT or a convolutional encoder, a two-layer projector, and a language model that reads its output among the
words.

Liu et al. 2023 (https://arxiv.org/abs/2304.08485, https://arxiv.org/abs/2310.03744). One image token stands for one
patch, in reading order, so the grid of tokens is the grid of patches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vlm_demo.contracts import BridgeInfo, PatchFeatures, View
from vlm_demo.errors import UnsupportedModel
from vlm_demo.models.adapters import blocks
from vlm_demo.models.adapters.usual import OneTile, Writes, fitted

# Vision towers with one fixed square grid, and how many CLS tokens each puts before its patches.
CLS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0, "dinov2": 1, "efficientnet_lite": 0}

# What LLaVA-1.5 was trained with, for checkpoints without a chat template.
FALLBACK_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


class Llava(OneTile, Writes):
    """Adapter of ``LlavaForConditionalGeneration``; implements ``adapters.Writer``."""

    name = "llava"
    bridge_info = BridgeInfo("projector", "each patch through a projector of two layers")
    fallback_template = FALLBACK_TEMPLATE
    # Full module paths: bitsandbytes' short names would match nothing, and the encoder would be quantized silently.
    keep_unquantized: tuple[str, ...] = ("model.vision_tower", "model.multi_modal_projector", "lm_head")

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        self.model, self.config = model, model.config
        self.tower = model.model.vision_tower
        self.language_model, self.head = model.model.language_model, model.lm_head
        self.encoder_layers = _encoder_layers(self.tower)
        self.bridge_layers: list[torch.nn.Module] = []
        self.language_layers = blocks(self.language_model, self.config.text_config.num_hidden_layers)
        self.tapped = (self.language_model,)
        self.context = self.config.text_config.max_position_embeddings
        self.image_token_id = self.config.image_token_id
        cls_tokens = CLS_TOKENS[self.config.vision_config.model_type]
        self.leading_tokens = 0 if self._drops_first else cls_tokens

    @staticmethod
    def model_class() -> Any:
        from transformers import LlavaForConditionalGeneration

        return LlavaForConditionalGeneration

    @staticmethod
    def check(config: Any) -> None:
        """Refuse towers whose tokens this adapter cannot place on the picture.

        Raises:
            UnsupportedModel: names the tower.
        """
        tower = config.vision_config.model_type
        if tower not in CLS_TOKENS:
            raise UnsupportedModel(
                f"This LLaVA sees through a {tower}, which cannot be run here: choose one with "
                f"{' or '.join(CLS_TOKENS)}."
            )
        if config.vision_feature_select_strategy == "default" and not CLS_TOKENS[tower]:
            raise UnsupportedModel(
                f"This checkpoint drops the first patch of a {tower} that has no CLS token: its settings are at odds, "
                "so choose another."
            )

    @property
    def _drops_first(self) -> bool:
        return self.config.vision_feature_select_strategy == "default"

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The hidden states of the layer (or layers, side by side) that the checkpoint names, CLS token dropped."""
        chosen = self.config.vision_feature_layer
        pixel_values = pixel_values.to(self.tower.device, self.tower.dtype)
        states = self.tower(pixel_values, output_hidden_states=True, return_dict=True).hidden_states
        layers = [states[i] for i in ([chosen] if isinstance(chosen, int) else chosen)]
        return torch.cat([layer[:, 1:] if self._drops_first else layer for layer in layers], dim=-1)

    def placeholders(self, view: View) -> int:
        return len(view.boxes) + self.leading_tokens

    def bridge(self, patches: PatchFeatures) -> torch.Tensor:
        projector = self.model.model.multi_modal_projector
        return projector(fitted(patches.features, projector.linear_1))


def _encoder_layers(tower: torch.nn.Module) -> list[torch.nn.Module]:
    """The tower's blocks in their order; those of a convolutional one lie in stages."""
    if hasattr(tower, "stages"):
        return [block for stage in tower.stages for block in stage]
    return blocks(tower, tower.config.num_hidden_layers)
