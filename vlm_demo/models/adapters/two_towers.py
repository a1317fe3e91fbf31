"""Two towers: what CLIP and SigLIP have in common, an encoder and a text tower whose vectors are compared."""

from __future__ import annotations

import math
from typing import Any

import torch

from vlm_demo.contracts import BridgeInfo
from vlm_demo.models.adapters.usual import OneTile


class TwoTowers(OneTile):
    """An adapter that is its own ``adapters.Matcher``."""

    writes = False
    as_a_whole = False
    joint_tiles = False
    bridge_info = BridgeInfo("none", "pictures and texts meet in one space")
    keep_unquantized: tuple[str, ...] = ()
    parts: tuple[torch.nn.Module, ...] = ()

    def __init__(self, model: Any) -> None:
        self.model, self.config = model, model.config
        self.encoder_layers = list(model.vision_model.encoder.layers)
        self.layers = list(model.text_model.encoder.layers)
        self.longest = self.config.text_config.max_position_embeddings
        self.temperature = math.exp(-model.logit_scale.item())
        self.tokenizer = None
        self.matcher = self

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The last layer's hidden states, a CLS token first where there is one."""
        vision = self.model.vision_model
        return vision(pixel_values.to(vision.device, vision.dtype)).last_hidden_state
