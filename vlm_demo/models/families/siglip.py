"""SigLIP: as CLIP, but trained on each pair of picture and text by itself, so it can also say whether one text fits.

Zhai et al. 2023 (https://arxiv.org/abs/2303.15343). The probability that a text fits is
sigmoid(similarity / temperature + bias), whatever the other texts are.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.nn.functional import normalize, pad

from vlm_demo.contracts import BridgeNote
from vlm_demo.errors import UnsupportedModel
from vlm_demo.models.cutting import Cut, whole


class Siglip:
    """Adapter of ``SiglipModel``; implements ``families.Family`` and is its own ``families.Matcher``."""

    name = "siglip"
    writes = False
    as_a_whole = False
    joint_tiles = False
    note = BridgeNote("none", "pictures and texts meet in one space")
    leading_tokens = 0
    keep_unquantized: tuple[str, ...] = ()
    parts: tuple[torch.nn.Module, ...] = ()

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        self.model, self.config = model, model.config
        self.encoder_layers = list(model.vision_model.encoder.layers)
        self.layers = list(model.text_model.encoder.layers)
        self.longest = self.config.text_config.max_position_embeddings
        self.temperature = math.exp(-model.logit_scale.item())
        self.padding = tokenizer.pad_token_id or 0
        self.matcher = self

    @staticmethod
    def model_class() -> Any:
        from transformers import SiglipModel

        return SiglipModel

    @staticmethod
    def check(config: Any) -> None:
        """Refuse an encoder that does not pool its patches.

        Raises:
            UnsupportedModel: says so.
        """
        if not config.vision_config.vision_use_head:
            raise UnsupportedModel(
                "This SigLIP has no head that joins its patches (vision_use_head = false), so it can't compare: choose "
                "another one."
            )

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The last layer's hidden states."""
        vision = self.model.vision_model
        return vision(pixel_values.to(vision.device, vision.dtype)).last_hidden_state

    def picture(self, features: torch.Tensor) -> torch.Tensor:
        return normalize(self.model.vision_model.head(features).float(), dim=-1)

    def texts(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        # It was trained on texts filled up to their full length, and reads what fills them.
        ids = ids.masked_fill(mask == 0, self.padding)
        ids = pad(ids, (0, self.longest - ids.shape[1]), value=self.padding)
        return normalize(self.model.get_text_features(input_ids=ids).pooler_output.float(), dim=-1)

    def matches(self, features: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        near = self.picture(features) @ self.texts(ids, mask).T
        return torch.sigmoid(near[0] / self.temperature + self.model.logit_bias.float())

    def cut(self, processor: Any, image: Image.Image) -> Cut:
        return whole(processor, image, self.grid)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        patch = self.config.vision_config.patch_size
        return height // patch, width // patch
