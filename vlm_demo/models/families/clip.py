"""CLIP: a ViT and a text tower that put pictures and texts into one space, where what belongs together is near.

Radford et al. 2021 (https://arxiv.org/abs/2103.00020). It compares and does not write: there is no bridge and no
language model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize

from vlm_demo.errors import UnsupportedModel
from vlm_demo.models.families.two_towers import TwoTowers

# A text config with this eos_token_id means an old checkpoint: transformers then reads the token with the highest id.
OLD_EOS = 2


class Clip(TwoTowers):
    """Adapter of ``CLIPModel``; implements ``families.Family`` and is its own ``families.Matcher``."""

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
