"""Mllama (Llama 3.2 Vision): the picture in up to four tiles that see each other, and a language model with layers that
look at their patches.

Grattafiori et al. 2024 (https://arxiv.org/abs/2407.21783). The prompt holds one mark for a picture; the words behind it
attend to its patches through gated cross-attention layers, whose keys are cached with the words'.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.models.mllama.image_processing_pil_mllama import (
    get_all_supported_aspect_ratios,
    get_image_size_fit_to_canvas,
)
from transformers.models.mllama.processing_mllama import get_cross_attention_token_mask

from vlm_demo.contracts import BridgeInfo, ImageTokens, PatchFeatures, Prompt, View
from vlm_demo.models.adapters.among_words import AmongWords
from vlm_demo.models.adapters.usual import fitted
from vlm_demo.models.patch_geometry import Cut, Geometry, joined, patch_grid, tile_by_tile, unplaceable

FALLBACK_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|image|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


class Mllama(AmongWords):
    """Adapter of ``MllamaForConditionalGeneration``; implements ``adapters.Writer``."""

    name = "mllama"
    joint_tiles = True
    among_words = False
    fallback_template = FALLBACK_TEMPLATE
    keep_unquantized = ("model.vision_model", "model.multi_modal_projector", "lm_head")

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        super().__init__(model, model.model.language_model)
        self.vision, self.projector = model.model.vision_model, model.model.multi_modal_projector
        self.encoder_layers = [*self.vision.transformer.layers, *self.vision.global_transformer.layers]
        self.picture_layers = frozenset(self.config.text_config.cross_attention_layers)
        crossing = [self.language_layers[i] for i in sorted(self.picture_layers)]
        self.image_attentions = frozenset(layer.cross_attn for layer in crossing)
        vision = self.config.vision_config
        self.most, self.side = vision.max_num_tiles, vision.image_size
        self.tile_grid = (self.side // vision.patch_size,) * 2
        self.bridge_info = BridgeInfo("cross-attention", f"read by {len(crossing)} gated layers of the language model")
        # Which token stands for a picture; older configs call it by another name.
        self.image_token_id = self.config.image_token_index

    @staticmethod
    def model_class() -> Any:
        from transformers import MllamaForConditionalGeneration

        return MllamaForConditionalGeneration

    def cut(self, processor: Any, image: Image.Image) -> Cut:
        processed = processor(images=image, return_tensors="pt")
        arrangement = get_all_supported_aspect_ratios(self.most)
        rows, columns = arrangement[int(processed["aspect_ratio_ids"][0, 0]) - 1]
        tiles = processed["pixel_values"][0, 0]
        if tuple(tiles.shape) != (self.most, 3, self.side, self.side):
            raise unplaceable(processor)
        tiles = tiles[: rows * columns]
        width, height = image.size
        canvas = (columns * self.side, rows * self.side)
        high, wide = get_image_size_fit_to_canvas(height, width, canvas[1], canvas[0], self.side)
        place = Geometry((float(wide) / width, float(high) / height), (0.0, 0.0), canvas)
        grid = (rows * self.tile_grid[0], columns * self.tile_grid[1])
        # Each tile has a CLS token before its patches.
        patches = math.prod(self.tile_grid)
        tokens = tile_by_tile((rows, columns), self.tile_grid)
        fine = patch_grid(place, grid, tokens + tokens // patches + 1)
        return Cut(tiles, joined(tiles, (rows, columns)), (fine,), place, (rows, columns))

    def encode(self, pixel_values: torch.Tensor, tiling: tuple[int, int] = (1, 1)) -> torch.Tensor:
        """The last hidden states of one picture's tiles, joined with those of some earlier layers."""
        count = len(pixel_values)
        # The tower sees tiles that are not there as black ones, so they must be there.
        tiles = torch.nn.functional.pad(pixel_values, (0, 0, 0, 0, 0, 0, 0, self.most - count))
        arrangement = get_all_supported_aspect_ratios(self.most).index(tiling) + 1
        device = self.vision.device
        out = self.vision(
            pixel_values=tiles[None, None].to(device, self.vision.dtype),
            aspect_ratio_ids=torch.tensor([[arrangement]], device=device),
            aspect_ratio_mask=(torch.arange(self.most, device=device) < count).long()[None, None],
        )
        return out.last_hidden_state[0, 0, :count]

    def placeholders(self, view: View) -> int:
        return 1

    def bridge(self, patches: PatchFeatures) -> list[torch.Tensor]:
        tokens = self.projector(fitted(patches.features, self.projector))
        tiles = [view.tiles for view in patches.views]
        return [picture.flatten(0, 1) for picture in tokens.split(tiles)]

    def language_model_inputs(self, image_tokens: ImageTokens, prompt: Prompt, positions: range) -> dict[str, Any]:
        """The patches, once; and for each token which pictures it sees: its own mark's, up to the next one."""
        keys = image_tokens.embeddings
        at = np.array(positions)[:, None]
        spans = get_cross_attention_token_mask(list(prompt.ids), self.image_token_id)
        # A picture that is seen up to the prompt's end is seen by the answer too.
        begin, end = np.array([(a, np.inf if b in (-1, len(prompt.ids)) else b) for a, b in spans]).T
        seen = torch.tensor((at >= begin) & (at < end), device=keys.device)
        allowed = seen.repeat_interleave(torch.tensor(image_tokens.counts, device=keys.device), 1)[None, None]
        any_seen = seen.any(1)[None, None, :, None]
        # A row that sees nothing is made to see all, and what it gets is then taken away.
        lowest = torch.finfo(keys.dtype).min
        mask = torch.zeros(allowed.shape, dtype=keys.dtype, device=keys.device)
        return {
            "cross_attention_states": keys[None] if positions.start == 0 else None,
            "cross_attention_mask": mask.masked_fill(~allowed & any_seen, lowest),
            "full_text_row_masked_out_mask": any_seen.to(keys.dtype),
        }
