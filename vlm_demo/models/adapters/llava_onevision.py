"""LLaVA-OneVision: LLaVA-NeXT with many more tiles, whose grid is made smaller where it would be too many tokens.

Li et al. 2024 (https://arxiv.org/abs/2408.03326).
"""

from __future__ import annotations

import math
from typing import Any

import torch

from vlm_demo.contracts import BridgeInfo
from vlm_demo.models.adapters.llava_next import LlavaNext

# What its Qwen2 was trained with.
FALLBACK_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image>{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ '\n' + part['text'] }}{% endfor %}"
    "<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class LlavaOnevision(LlavaNext):
    """Adapter of ``LlavaOnevisionForConditionalGeneration``; implements ``adapters.Writer``."""

    name = "llava_onevision"
    bridge_info = BridgeInfo("projector", "each patch through a projector of two layers, pooled where they are many")
    fallback_template = FALLBACK_TEMPLATE

    @staticmethod
    def model_class() -> Any:
        from transformers import LlavaOnevisionForConditionalGeneration

        return LlavaOnevisionForConditionalGeneration

    def pooled(self, lines: tuple[int, int]) -> tuple[int, int]:
        most = int(self.config.vision_aspect_ratio.removeprefix("anyres_max_"))
        ratio = math.sqrt(lines[0] * lines[1] / (most * self.tile_grid[0] ** 2))
        return (int(lines[0] // ratio), int(lines[1] // ratio)) if ratio > 1.1 else lines

    def packed(self, tokens: list[torch.Tensor], sizes: list[tuple[int, int]]) -> list[torch.Tensor]:
        inner = self.model.model
        ratio = self.config.vision_aspect_ratio
        return inner.pack_image_features(tokens, sizes, image_newline=inner.image_newline, vision_aspect_ratio=ratio)[0]
