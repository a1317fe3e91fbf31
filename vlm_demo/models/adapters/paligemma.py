"""PaliGemma: a SigLIP encoder, one linear layer, and a Gemma to which picture and question are one prefix.

Beyer et al. 2024 (https://arxiv.org/abs/2407.07726). All tokens of the prefix see each other, those before and those
after; the answer sees what came before it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vlm_demo.contracts import BridgeInfo, ImageTokens, PatchFeatures, Prompt
from vlm_demo.models.adapters import StagesUnknown, blocks
from vlm_demo.models.adapters.among_words import AmongWords
from vlm_demo.models.adapters.masks import seen
from vlm_demo.models.adapters.usual import OneTile, fitted

# Its checkpoints have none: it was trained on pictures, the first token, one line of text, and the end of the line.
FALLBACK_TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}"
    "{% endfor %}{% endfor %}"
    "{{ bos_token }}"
    "{% for message in messages %}{% for part in message['content'] if part['type'] == 'text' %}"
    "{{ part['text'] + '\n' }}{% endfor %}{% endfor %}"
)


class PaliGemma(OneTile, AmongWords):
    """Adapter of ``PaliGemmaForConditionalGeneration``; implements ``adapters.Writer``."""

    name = "paligemma"
    sees_ahead = True
    bridge_info = BridgeInfo("projector", "each patch through one linear layer")
    fallback_template = FALLBACK_TEMPLATE
    keep_unquantized = ("model.vision_tower", "model.multi_modal_projector", "lm_head")

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        super().__init__(model, model.model.language_model)
        self.vision, self.projector = model.model.vision_tower, model.model.multi_modal_projector
        self.encoder_layers = blocks(self.vision, self.config.vision_config.num_hidden_layers)

    @staticmethod
    def model_class() -> Any:
        from transformers import PaliGemmaForConditionalGeneration

        return PaliGemmaForConditionalGeneration

    @staticmethod
    def check(config: Any) -> None:
        """Leave out those that write with a Gemma 2, whose capped attention is not the one that is tapped.

        Raises:
            StagesUnknown: it does.
        """
        if getattr(config.text_config, "attn_logit_softcapping", None) is not None:
            raise StagesUnknown

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The last layer's hidden states."""
        return self.vision(pixel_values.to(self.vision.device, self.vision.dtype)).last_hidden_state

    def bridge(self, patches: PatchFeatures) -> torch.Tensor:
        return self.projector(fitted(patches.features, self.projector.linear))

    def language_model_inputs(self, image_tokens: ImageTokens, prompt: Prompt, positions: range) -> dict[str, Any]:
        """Positions, which count from 1, and in one step over the prompt its mask."""
        device = image_tokens.embeddings.device
        given: dict[str, Any] = {"position_ids": torch.tensor(positions, device=device)[None] + 1}
        if positions.start < len(prompt.ids):
            prefix = [0] * len(prompt.ids)
            full = seen(positions, prefix).to(device)
            window = getattr(self.config.text_config, "sliding_window", None)
            sliding = {"full_attention": full, "sliding_attention": seen(positions, prefix, window).to(device)}
            given["attention_mask"] = full if window is None else sliding
        return given
