"""CLIP: a ViT and a text tower that put pictures and texts into one space, where what belongs together is near.

Radford et al. 2021 (https://arxiv.org/abs/2103.00020). It compares and does not write: there is no bridge and no
language model.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.nn.functional import normalize

from vlm_demo.contracts import BridgeNote
from vlm_demo.errors import UnsupportedModel
from vlm_demo.models.cutting import Cut, whole

# A text config with this eos_token_id means an old checkpoint: transformers then reads the token with the highest id.
OLD_EOS = 2


class Clip:
    """Adapter of ``CLIPModel``; implements ``families.Family`` and is its own ``families.Matcher``."""

    name = "clip"
    writes = False
    as_a_whole = False
    joint_tiles = False
    note = BridgeNote("none", "pictures and texts meet in one space")
    leading_tokens = 1
    keep_unquantized: tuple[str, ...] = ()
    parts: tuple[torch.nn.Module, ...] = ()

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        self.model, self.config = model, model.config
        self.encoder_layers = list(model.vision_model.encoder.layers)
        self.layers = list(model.text_model.encoder.layers)
        self.longest = self.config.text_config.max_position_embeddings
        self.temperature = math.exp(-model.logit_scale.item())
        self.matcher = self
        _check_end(self.config.text_config.eos_token_id, tokenizer, folder.resolve().name)

    @staticmethod
    def model_class() -> Any:
        from transformers import CLIPModel

        return CLIPModel

    @staticmethod
    def check(config: Any) -> None:
        """Every CLIP can be run."""

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The last layer's hidden states, CLS token first."""
        vision = self.model.vision_model
        return vision(pixel_values.to(vision.device, vision.dtype)).last_hidden_state

    def picture(self, features: torch.Tensor) -> torch.Tensor:
        read = self.model.vision_model.post_layernorm(features[:, 0])
        return normalize(self.model.visual_projection(read).float(), dim=-1)

    def texts(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        read = self.model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
        return normalize(read.float(), dim=-1)

    def matches(self, features: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> None:
        return None

    def cut(self, processor: Any, image: Image.Image) -> Cut:
        return whole(processor, image, self.grid)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        patch = self.config.vision_config.patch_size
        return height // patch, width // patch


def _check_end(read: int, tokenizer: Any, shown: str) -> None:
    """Refuse a tokenizer whose texts do not end in the token that the text tower reads.

    Raises:
        UnsupportedModel: all captions would be read at a wrong place without a word.
    """
    end = tokenizer.eos_token_id
    wanted = len(tokenizer) - 1 if read == OLD_EOS else read
    if end != wanted:
        raise UnsupportedModel(
            f"The text tower of {shown} reads token {wanted}, but its tokenizer ends texts with {end}: its files are "
            "at odds, so fetch the checkpoint again or choose another."
        )
