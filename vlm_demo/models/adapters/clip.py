"""CLIP: a vision and a text tower that put pictures and texts into one space, where what belongs together is near.

Radford et al. 2021 (https://arxiv.org/abs/2103.00020). It compares and does not write: there is no bridge and no
language model.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize

from vlm_demo.errors import UnsupportedModel
from vlm_demo.models.adapters.two_towers import TwoTowers
from vlm_demo.models.adapters.usual import OneTile

# A text config with this eos_token_id means an old checkpoint: transformers then reads the token with the highest id.
OLD_EOS = 2


class Clip(TwoTowers):
    """Adapter of ``CLIPModel``; implements ``adapters.Family`` and is its own ``adapters.Matcher``."""

    name = "clip"
    leading_tokens = 1

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        super().__init__(model)
        _check_end(self.config.text_config.eos_token_id, tokenizer, folder.resolve().name)

    @staticmethod
    def model_class() -> Any:
        from transformers import CLIPModel

        return CLIPModel

    @staticmethod
    def check(config: Any) -> None:
        """Every CLIP can be run."""

    def picture(self, features: torch.Tensor) -> torch.Tensor:
        read = self.model.vision_model.post_layernorm(features[:, 0])
        return normalize(self.model.visual_projection(read).float(), dim=-1)

    def texts(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        read = self.model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
        return normalize(read.float(), dim=-1)

    def matches(self, features: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> None:
        return None


class DualEncoder(OneTile):
    """Adapter of ``VisionTextDualEncoderModel`` with our vision tower and a BERT; its own ``adapters.Matcher``.

    Each token of the tower's pooling head is a patch, and the picture's vector a weighted mean of them, so what each
    patch adds to a similarity can be read off.
    """

    name = "clip"
    writes = as_a_whole = joint_tiles = False
    bridge_info = TwoTowers.bridge_info
    leading_tokens = 0
    keep_unquantized: tuple[str, ...] = ()
    parts: tuple[torch.nn.Module, ...] = ()

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        self.model, self.config = model, model.config
        self.encoder_layers = [block for stage in model.vision_model.stages for block in stage]
        self.layers = list(model.text_model.encoder.layer)
        self.longest = self.config.text_config.max_position_embeddings
        self.temperature = math.exp(-model.logit_scale.item())
        self.tokenizer = None
        self.matcher = self

    @staticmethod
    def model_class() -> Any:
        from transformers import VisionTextDualEncoderModel

        return VisionTextDualEncoderModel

    @staticmethod
    def check(config: Any) -> None:
        """Refuse other towers.

        Raises:
            UnsupportedModel: names them.
        """
        seen, read = config.vision_config, config.text_config
        if not getattr(seen, "pooled_size", 0) or read.model_type != "bert":
            raise UnsupportedModel(
                f"This checkpoint compares a {seen.model_type} with a {read.model_type}, which cannot be run here: "
                "choose a CLIP or SigLIP."
            )

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        tower = self.model.vision_model
        return tower(pixel_values.to(tower.device, tower.dtype)).last_hidden_state

    def picture(self, features: torch.Tensor) -> torch.Tensor:
        pooled = self.model.vision_model.pool(features)
        return normalize(self.model.visual_projection(pooled).float(), dim=-1)

    def texts(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        read = self.model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
        return normalize(read.float(), dim=-1)

    def matches(self, features: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> None:
        return None


def _check_end(read: int, tokenizer: Any, shown: str) -> None:
    """Refuse a tokenizer whose texts do not end in the token that the text tower reads.

    Raises:
        UnsupportedModel: all captions would silently be read at a wrong place.
    """
    end = tokenizer.eos_token_id
    wanted = len(tokenizer) - 1 if read == OLD_EOS else read
    if end != wanted:
        raise UnsupportedModel(
            f"The text tower of {shown} reads token {wanted}, but its tokenizer ends texts with {end}: its files are "
            "at odds, so fetch the checkpoint again or choose another."
        )
