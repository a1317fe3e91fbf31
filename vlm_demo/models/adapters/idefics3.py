"""Idefics3 and SmolVLM: the picture in tiles and as a thumbnail, each through a ViT whose patches are shuffled into
fewer, wider tokens.

Laurençon et al. 2024 (https://arxiv.org/abs/2408.12637), Marafioti et al. 2025 (https://arxiv.org/abs/2504.05299). The
prompt says of each tile in which row and column it lies.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from vlm_demo.contracts import BridgeInfo, PatchFeatures, View
from vlm_demo.models.adapters.among_words import AmongWords
from vlm_demo.models.adapters.usual import fitted
from vlm_demo.models.patch_geometry import Cut, joined, patch_grid, squashed, tile_by_tile, unplaceable

AROUND, THUMBNAIL = "<fake_token_around_image>", "<global-img>"
# What both were trained with.
FALLBACK_TEMPLATE = (
    "<|im_start|>{% for message in messages %}"
    "{{ message['role'] | capitalize }}{% if message['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


class Idefics3(AmongWords):
    """Adapter of ``Idefics3ForConditionalGeneration``; implements ``adapters.Writer``."""

    name = "idefics3"
    fallback_template = FALLBACK_TEMPLATE
    keep_unquantized = ("model.vision_model", "model.connector", "lm_head")

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        super().__init__(model, model.model.text_model)
        self.vision, self.connector = model.model.vision_model, model.model.connector
        self.encoder_layers = list(self.vision.encoder.layers)
        side = self.config.vision_config.image_size // self.config.vision_config.patch_size
        self.tile_grid = (side // self.config.scale_factor,) * 2
        self.image_token = tokenizer.convert_ids_to_tokens(self.image_token_id)
        merged = self.config.scale_factor
        self.bridge_info = BridgeInfo("projector", f"{merged} × {merged} patches side by side through one layer")

    @staticmethod
    def model_class() -> Any:
        from transformers import Idefics3ForConditionalGeneration

        return Idefics3ForConditionalGeneration

    def cut(self, processor: Any, image: Image.Image) -> Cut:
        processed = processor(images=image, return_tensors="pt", return_row_col_info=True)
        tiles = processed["pixel_values"][0]
        rows, columns = (int(processed[axis][0][0]) for axis in ("rows", "cols"))
        split = rows * columns > 0
        tiling = (rows, columns) if split else (1, 1)
        side = self.config.vision_config.image_size
        if tuple(tiles.shape) != (rows * columns + 1, 3, side, side):
            raise unplaceable(processor)
        place = squashed(image.size, (tiling[1] * side, tiling[0] * side))
        grid = (tiling[0] * self.tile_grid[0], tiling[1] * self.tile_grid[1])
        patch_grids = [patch_grid(place, grid, tile_by_tile(tiling, self.tile_grid))]
        if split:
            size = math.prod(self.tile_grid)
            last = torch.arange(size).numpy() + rows * columns * size
            patch_grids.append(patch_grid(squashed(image.size, (side, side)), self.tile_grid, last))
        return Cut(tiles, joined(tiles[: math.prod(tiling)], tiling), tuple(patch_grids), place, tiling)

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The last layer's hidden states."""
        return self.vision(pixel_values.to(self.vision.device, self.vision.dtype)).last_hidden_state

    def placeholders(self, view: View) -> str:
        tile = self.image_token * math.prod(self.tile_grid)
        thumbnail = f"{AROUND}{THUMBNAIL}{tile}{AROUND}"
        if len(view.patch_grids) == 1:
            return thumbnail
        rows, columns = view.tiling
        lines = (
            "".join(f"{AROUND}<row_{row + 1}_col_{column + 1}>{tile}" for column in range(columns)) + "\n"
            for row in range(rows)
        )
        return f"{''.join(lines)}\n{thumbnail}"

    def bridge(self, patches: PatchFeatures) -> list[torch.Tensor]:
        tokens = self.connector(fitted(patches.features, self.connector.modality_projection.proj))
        tiles = [view.tiles for view in patches.views]
        return [picture.flatten(0, 1) for picture in tokens.split(tiles)]
