"""Qwen3-VL: Qwen2.5-VL whose language model also gets what the encoder knew halfway up, in its first layers.

DeepStack (Meng et al. 2024, https://arxiv.org/abs/2406.04334): the merged features of some of the encoder's blocks are
added to the image tokens behind the language model's first layers, one block's features a layer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vlm_demo.contracts import BridgeInfo, ImageTokens, PatchFeatures, Prompt
from vlm_demo.models.adapters import Bridged
from vlm_demo.models.adapters.qwen2_5_vl import Qwen25Vl, counts

FALLBACK_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Qwen3Vl(Qwen25Vl):
    """Adapter of ``Qwen3VLForConditionalGeneration``; implements ``adapters.Writer``."""

    name = "qwen3_vl"
    fallback_template = FALLBACK_TEMPLATE

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        super().__init__(model, folder, tokenizer)
        self.stacked = list(self.config.vision_config.deepstack_visual_indexes)
        text = f"{self.merged} × {self.merged} patches merged into one token, at {len(self.stacked) + 1} depths"
        self.bridge_info = BridgeInfo("projector", text)

    @staticmethod
    def model_class() -> Any:
        from transformers import Qwen3VLForConditionalGeneration

        return Qwen3VLForConditionalGeneration

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The hidden states of the last block and of those that are stacked, side by side."""
        patches, grids = self._patches(pixel_values.to(self.visual.device, self.visual.dtype))
        out = self.visual(patches, grid_thw=grids, output_hidden_states=True)
        states = [out.last_hidden_state, *(out.hidden_states[block + 1] for block in self.stacked)]
        return torch.cat(states, -1).reshape(len(pixel_values), -1, sum(state.shape[-1] for state in states))

    def bridge(self, patches: PatchFeatures) -> tuple[Bridged, torch.Tensor]:
        last, *others = patches.features.flatten(0, 1).chunk(len(self.stacked) + 1, -1)
        mergers = zip(self.visual.deepstack_merger_list, others, strict=True)
        deep = torch.stack([merger(states.contiguous()) for merger, states in mergers])
        return list(self.visual.merger(last.contiguous()).split(counts(patches))), deep

    def language_model_inputs(self, image_tokens: ImageTokens, prompt: Prompt, positions: range) -> dict[str, Any]:
        given = super().language_model_inputs(image_tokens, prompt, positions)
        here = [(i, at - positions.start) for i, at in enumerate(prompt.image_positions) if at in positions]
        if not here or image_tokens.deep is None:
            return given
        tokens, places = torch.tensor(here, device=image_tokens.embeddings.device).T
        seen = torch.zeros(1, len(positions), dtype=torch.bool, device=places.device)
        seen[0, places] = True
        return given | {"visual_pos_masks": seen, "deepstack_visual_embeds": list(image_tokens.deep[:, tokens])}
