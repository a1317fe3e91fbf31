"""SigLIP: as CLIP, but trained on each pair of picture and text by itself, so it can also say whether one text fits.

Zhai et al. 2023 (https://arxiv.org/abs/2303.15343). The probability that a text fits is
sigmoid(similarity / temperature + bias), whatever the other texts are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize, pad

from vlm_demo.errors import UnsupportedModel
from vlm_demo.models.adapters.two_towers import TwoTowers


class Siglip(TwoTowers):
    """Adapter of ``SiglipModel``; implements ``adapters.Family`` and is its own ``adapters.Matcher``."""

    name = "siglip"
    leading_tokens = 0

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        super().__init__(model)
        self.padding = tokenizer.pad_token_id or 0

    @staticmethod
    def model_class() -> Any:
        from transformers import SiglipModel

        return SiglipModel

    @staticmethod
    def check(config: Any) -> None:
        """Refuse an encoder that does not pool its patches.

        Raises:
            UnsupportedModel: it has no pooling head.
        """
        if not config.vision_config.vision_use_head:
            raise UnsupportedModel(
                "This SigLIP has no head that joins its patches (vision_use_head = false), so it can't compare: choose "
                "another one."
            )

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
