"""Gemma 3: a SigLIP encoder whose patches are pooled, and a language model in which a picture's tokens see each other.

Gemma Team 2025 (https://arxiv.org/abs/2503.19786). Most layers look back over a window only; in these a picture's
tokens see all of it ahead, and behind them no further than the window.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from vlm_demo.contracts import BridgeInfo, ImageTokens, PatchFeatures, Prompt, View
from vlm_demo.models.adapters import blocks
from vlm_demo.models.adapters.among_words import AmongWords
from vlm_demo.models.adapters.masks import runs, seen
from vlm_demo.models.patch_geometry import Cut, whole

FALLBACK_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<start_of_turn>{% if message['role'] == 'assistant' %}model{% else %}{{ message['role'] }}{% endif %}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<start_of_image>{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}"
    "<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


class Gemma3(AmongWords):
    """Adapter of ``Gemma3ForConditionalGeneration``; implements ``adapters.Writer``."""

    name = "gemma3"
    pictures_see_ahead = True
    fallback_template = FALLBACK_TEMPLATE
    keep_unquantized = ("model.vision_tower", "model.multi_modal_projector", "lm_head")

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        super().__init__(model, model.model.language_model)
        self.vision, self.projector = model.model.vision_tower, model.model.multi_modal_projector
        self.encoder_layers = blocks(self.vision, self.config.vision_config.num_hidden_layers)
        self.side = math.isqrt(self.config.mm_tokens_per_image)
        ids = [self.config.boi_token_index, self.image_token_id, self.config.eoi_token_index]
        self.placeholder, self.image_token, self.end = tokenizer.convert_ids_to_tokens(ids)
        merged = self.config.vision_config.image_size // self.config.vision_config.patch_size // self.side
        self.bridge_info = BridgeInfo("projector", f"the mean of {merged} × {merged} patches through one layer")

    @staticmethod
    def model_class() -> Any:
        from transformers import Gemma3ForConditionalGeneration

        return Gemma3ForConditionalGeneration

    def cut(self, processor: Any, image: Image.Image) -> Cut:
        return whole(processor, image, lambda height, width: (self.side, self.side))

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The last layer's hidden states."""
        return self.vision(pixel_values.to(self.vision.device, self.vision.dtype)).last_hidden_state

    def placeholders(self, view: View) -> str:
        return f"\n\n{self.placeholder}{self.image_token * len(view.boxes)}{self.end}\n\n"

    def bridge(self, patches: PatchFeatures) -> torch.Tensor:
        weight = self.projector.mm_input_projection_weight
        return self.projector(patches.features.to(weight.device, weight.dtype))

    def language_model_inputs(self, image_tokens: ImageTokens, prompt: Prompt, positions: range) -> dict[str, Any]:
        if positions.start >= len(prompt.ids):
            return {}
        device = image_tokens.embeddings.device
        pictures = runs(prompt.image_positions, len(prompt.ids))
        window = self.config.text_config.sliding_window
        masks = {
            "full_attention": seen(positions, pictures).to(device),
            "sliding_attention": seen(positions, pictures, window).to(device),
        }
        return {"attention_mask": masks}
