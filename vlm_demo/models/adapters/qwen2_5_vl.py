"""Qwen2.5-VL: the picture at its own resolution in one piece, and every 2 × 2 patches merged into one token.

Bai et al. 2025 (https://arxiv.org/abs/2502.13923). An image token's position is its row and column; the words go on
behind the larger of the picture's two sides, so positions are fewer than tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers.vision_utils import get_vision_window_index

from vlm_demo.contracts import BridgeInfo, ImageTokens, PatchFeatures, Prompt
from vlm_demo.models.adapters import Bridged
from vlm_demo.models.adapters.among_words import AmongWords
from vlm_demo.models.patch_geometry import Cut, patch_grid, squashed, too_elongated, unplaceable

LONGEST_RATIO = 200  # of the longer to the shorter side; the processor takes no picture beyond
FALLBACK_TEMPLATE = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Qwen25Vl(AmongWords):
    """Adapter of ``Qwen2_5_VLForConditionalGeneration``; implements ``adapters.Writer``."""

    name = "qwen2_5_vl"
    fallback_template = FALLBACK_TEMPLATE
    keep_unquantized = ("model.visual", "lm_head")

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        super().__init__(model, model.model.language_model)
        self.visual = model.model.visual
        self.encoder_layers = list(self.visual.blocks)
        vision = self.config.vision_config
        self.patch, self.merged, self.frames = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
        self.bridge_info = BridgeInfo("projector", f"{self.merged} × {self.merged} patches merged into one token")

    @staticmethod
    def model_class() -> Any:
        from transformers import Qwen2_5_VLForConditionalGeneration

        return Qwen2_5_VLForConditionalGeneration

    def cut(self, processor: Any, image: Image.Image) -> Cut:
        if max(image.size) / min(image.size) > LONGEST_RATIO:
            raise too_elongated(image.size)
        processed = processor(images=image, return_tensors="pt")
        _, rows, columns = processed["image_grid_thw"][0].tolist()
        if processor.patch_size != self.patch or processor.merge_size != self.merged:
            raise unplaceable(processor)
        pixels = self._picture(processed["pixel_values"], rows, columns)
        place = squashed(image.size, (columns * self.patch, rows * self.patch))
        return Cut(pixels, pixels[0], (patch_grid(place, (rows // self.merged, columns // self.merged)),), place)

    def _picture(self, patches: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """The processor's patches → pixels [1, 3, h, w]; it repeats a picture as if it were frames of a video."""
        m, p = self.merged, self.patch
        blocks = patches.reshape(rows // m, columns // m, m, m, 3, self.frames, p, p)[..., 0, :, :]
        return blocks.permute(4, 0, 2, 5, 1, 3, 6).reshape(1, 3, rows * p, columns * p)

    def _patches(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The way back, for pictures of one size: patches [all, d] and their grids [pictures, 3]."""
        count, _, height, width = pixels.shape
        m, p = self.merged, self.patch
        rows, columns = height // p, width // p
        blocks = pixels.reshape(count, 3, rows // m, m, p, columns // m, m, p).permute(0, 2, 5, 3, 6, 1, 4, 7)
        frames = blocks.unsqueeze(6).expand(*blocks.shape[:6], self.frames, p, p)
        grids = torch.tensor([[1, rows, columns]] * count, device=pixels.device)
        return frames.reshape(count * rows * columns, -1), grids

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The last block's hidden states, in the order in which they are merged."""
        patches, grids = self._patches(pixel_values.to(self.visual.device, self.visual.dtype))
        states = self.visual(patches, grid_thw=grids).last_hidden_state
        # The tower works in windows; what it hands out lies in their order.
        window = self.config.vision_config.window_size
        order, _ = get_vision_window_index(grids, self.merged, window, self.patch)
        blocks = states.reshape(len(order), self.merged**2, -1)[torch.argsort(order).to(states.device)]
        return blocks.reshape(len(pixel_values), -1, states.shape[-1])

    def bridge(self, patches: PatchFeatures) -> Bridged | tuple[Bridged, torch.Tensor]:
        return list(self.visual.merger(patches.features.flatten(0, 1)).split(counts(patches)))

    def language_model_inputs(self, image_tokens: ImageTokens, prompt: Prompt, positions: range) -> dict[str, Any]:
        """The positions [3, 1, tokens] (time, row, column). Behind the prompt all three go on by one a token."""
        device = image_tokens.embeddings.device
        # A picture takes as many positions as its longer side has tokens.
        saved = sum(max(grid) - grid[0] * grid[1] for grid in image_tokens.grids)
        if positions.start >= len(prompt.ids):
            return {"position_ids": (torch.tensor(positions, device=device) + saved).expand(3, 1, -1)}
        grids = [(1, rows * self.merged, columns * self.merged) for rows, columns in image_tokens.grids]
        ids = torch.tensor([prompt.ids])
        seen = (ids == self.image_token_id).int()
        all_positions, _ = self.model.model.get_rope_index(ids, seen, image_grid_thw=torch.tensor(grids))
        later = torch.arange(len(prompt.ids), max(positions.stop, len(prompt.ids))) + saved
        every = torch.cat([all_positions, later.expand(3, 1, -1)], -1)
        return {"position_ids": every[..., positions.start : positions.stop].to(device)}


def counts(patches: PatchFeatures) -> list[int]:
    """Image tokens of each picture."""
    return [len(view.boxes) for view in patches.views]
