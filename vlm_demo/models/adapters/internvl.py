"""InternVL: the picture in tiles whose arrangement fits its shape, a thumbnail behind them, and every 2 × 2 patches as
one token.

Chen et al. 2024 (https://arxiv.org/abs/2404.16821).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from vlm_demo.contracts import BridgeInfo, PatchFeatures, View
from vlm_demo.models.adapters.among_words import AmongWords
from vlm_demo.models.adapters.usual import fitted
from vlm_demo.models.patch_geometry import Cut, joined, patch_grid, squashed, tile_by_tile, unplaceable

FALLBACK_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<IMG_CONTEXT>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class InternVl(AmongWords):
    """Adapter of ``InternVLForConditionalGeneration``; implements ``adapters.Writer``."""

    name = "internvl"
    fallback_template = FALLBACK_TEMPLATE
    keep_unquantized = ("model.vision_tower", "model.multi_modal_projector", "lm_head")

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        super().__init__(model, model.model.language_model)
        self.vision, self.projector = model.model.vision_tower, model.model.multi_modal_projector
        self.encoder_layers = list(self.vision.encoder.layer)
        vision = self.config.vision_config
        self.tile: tuple[int, int] = tuple(vision.image_size)
        sides = zip(self.tile, vision.patch_size, strict=True)
        rows, columns = (int(side // patch * self.config.downsample_ratio) for side, patch in sides)
        self.tile_grid = (rows, columns)
        self.image_token = tokenizer.convert_ids_to_tokens(self.image_token_id)
        self.begin = getattr(tokenizer, "start_image_token", "<img>")
        self.end = getattr(tokenizer, "end_image_token", "</img>")
        merged = round(1 / self.config.downsample_ratio)
        self.bridge_info = BridgeInfo("projector", f"{merged} × {merged} patches side by side through two layers")

    @staticmethod
    def model_class() -> Any:
        from transformers import InternVLForConditionalGeneration

        return InternVLForConditionalGeneration

    def cut(self, processor: Any, image: Image.Image) -> Cut:
        # Its processor turns cutting on, whatever the image processor's own setting.
        tiles = processor(images=image, return_tensors="pt", crop_to_patches=True)["pixel_values"]
        height, width = self.tile
        tiling = (1, 1)
        if processor.max_patches > 1:
            least, most = processor.min_patches, processor.max_patches
            tiling = get_optimal_tiled_canvas(image.size[::-1], self.tile, least, most)[::-1]
        count = math.prod(tiling)
        if tuple(tiles.shape) != (count + (count > 1), 3, height, width):
            raise unplaceable(processor)
        place = squashed(image.size, (tiling[1] * width, tiling[0] * height))
        grid = (tiling[0] * self.tile_grid[0], tiling[1] * self.tile_grid[1])
        patch_grids = [patch_grid(place, grid, tile_by_tile(tiling, self.tile_grid))]
        if count > 1:
            last = math.prod(grid) + np.arange(math.prod(self.tile_grid))
            patch_grids.append(patch_grid(squashed(image.size, (width, height)), self.tile_grid, last))
        return Cut(tiles, joined(tiles[:count], tiling), tuple(patch_grids), place, tiling)

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The hidden states of the layer that the checkpoint names, CLS token dropped where it is not read."""
        pixel_values = pixel_values.to(self.vision.device, self.vision.dtype)
        chosen = self.config.vision_feature_layer
        out = self.vision(pixel_values, output_hidden_states=chosen != -1)
        states = out.last_hidden_state if chosen == -1 else out.hidden_states[chosen]
        return states[:, 1:] if self.config.vision_feature_select_strategy == "default" else states

    def placeholders(self, view: View) -> str:
        count = sum(len(grid.tokens) for grid in view.patch_grids)
        return f"{self.begin}{self.image_token * count}{self.end}"

    def bridge(self, patches: PatchFeatures) -> list[torch.Tensor]:
        features = fitted(patches.features, self.projector.linear_1)
        side = math.isqrt(features.shape[1])
        features = features.unflatten(1, (side, side))
        shuffled = self.model.model.pixel_shuffle(features, scale_factor=self.config.downsample_ratio)
        tokens = self.projector(shuffled.flatten(1, 2))
        tiles = [view.tiles for view in patches.views]
        return [picture.flatten(0, 1) for picture in tokens.split(tiles)]
