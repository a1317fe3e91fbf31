"""BLIP-2 and Idefics that see through EfficientNet-Lite: transformers' classes with another vision module in each.

Both classes build their vision module themselves. The subclasses here build the smallest one that they accept and put
``ProjectedEfficientNet`` in its place; all that happens to its features afterwards is transformers' own code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.blip_2.configuration_blip_2 import Blip2VisionConfig
from transformers.models.blip_2.modeling_blip_2 import Blip2ForConditionalGeneration, Blip2ForImageTextRetrieval
from transformers.models.idefics.configuration_idefics import IdeficsVisionConfig
from transformers.models.idefics.modeling_idefics import IdeficsForVisionText2Text, IdeficsMLP

from vlm_demo.models.efficientnet_bridges_config import (
    EfficientNetBlip2Config,
    EfficientNetIdeficsConfig,
    ProjectedEfficientNetConfig,
)
from vlm_demo.models.efficientnet_lite import EfficientNetLiteModel

POSITION_STD = 0.02
LEAST_SPREAD = 1e-3


class FeatureHead(nn.Module):
    """Tower features → what cross-attention reads: a linear projection, a learned position for each token, LayerNorm.

    Cross-attention has no order of its own, so without positions left and right would be lost.
    """

    def __init__(self, channels: int, width: int, positions: int) -> None:
        super().__init__()
        self.projection = nn.Linear(channels, width)
        self.position_embedding = nn.Parameter(torch.zeros(positions, width))
        self.layernorm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:  # [B, positions, channels] → [B, positions, width]
        projected = self.projection(features.to(self.projection.weight.dtype))
        return self.layernorm(projected + self.position_embedding)

    @torch.no_grad()
    def standardize(self, features: Tensor) -> None:
        """Begin as if every channel had mean 0 and spread 1: fold both of these features [n, channels] into the
        projection."""
        mean, spread = features.float().mean(0), features.float().std(0) + LEAST_SPREAD
        nn.init.normal_(self.projection.weight, std=self.projection.in_features**-0.5)
        nn.init.normal_(self.position_embedding, std=POSITION_STD)
        self.projection.weight /= spread
        self.projection.bias.copy_(-self.projection.weight @ mean)


class ProjectedEfficientNet(EfficientNetLiteModel):
    """EfficientNet-Lite with a ``FeatureHead`` on its last features; pixels are of the one size it was trained with."""

    config_class = ProjectedEfficientNetConfig

    def __init__(self, config: ProjectedEfficientNetConfig) -> None:
        super().__init__(config)
        self.feature_head = FeatureHead(config.channels, config.hidden_size, config.positions)
        self.post_init()

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Features [B, positions, hidden_size] of normalised pixels [B, 3, image_size, image_size]."""
        seen = super().forward(pixel_values)
        features = self.feature_head(seen.last_hidden_state)
        return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=features.mean(1))


@contextmanager
def _stand_in(config: Any, smallest: Any) -> Iterator[None]:
    """Another ``vision_config`` while a class of transformers builds its own vision module."""
    original, config.vision_config = config.vision_config, smallest
    try:
        yield
    finally:
        config.vision_config = original


def _smallest_blip2() -> Blip2VisionConfig:
    return Blip2VisionConfig(
        hidden_size=1, intermediate_size=1, num_hidden_layers=0, num_attention_heads=1, image_size=1, patch_size=1
    )


class EfficientNetBlip2ForConditionalGeneration(Blip2ForConditionalGeneration):
    """``Blip2ForConditionalGeneration`` with ``ProjectedEfficientNet``; for both of BLIP-2's classes there is one
    checkpoint, in which this one's weights and the retrieval heads lie side by side."""

    config_class = EfficientNetBlip2Config

    def __init__(self, config: EfficientNetBlip2Config) -> None:
        with _stand_in(config, _smallest_blip2()):
            super().__init__(config)
        self.vision_model = ProjectedEfficientNet._from_config(config.vision_config)
        self.post_init()


class EfficientNetBlip2ForImageTextRetrieval(Blip2ForImageTextRetrieval):
    """``Blip2ForImageTextRetrieval`` with ``ProjectedEfficientNet``."""

    config_class = EfficientNetBlip2Config

    def __init__(self, config: EfficientNetBlip2Config) -> None:
        with _stand_in(config, _smallest_blip2()):
            super().__init__(config)
        self.vision_model = ProjectedEfficientNet._from_config(config.vision_config)
        self.post_init()


class EfficientNetIdeficsForVisionText2Text(IdeficsForVisionText2Text):
    """``IdeficsForVisionText2Text`` with ``ProjectedEfficientNet``, and in each gated cross-attention layer a
    feed-forward half of ``cross_intermediate_size``, narrower than the language model's own."""

    config_class = EfficientNetIdeficsConfig

    def __init__(self, config: EfficientNetIdeficsConfig) -> None:
        # Its keys and values are as wide as this says: the features are projected to the language model's width.
        smallest = IdeficsVisionConfig(
            embed_dim=config.hidden_size,
            intermediate_size=1,
            num_hidden_layers=0,
            num_attention_heads=1,
            image_size=1,
            patch_size=1,
        )
        with _stand_in(config, smallest):
            super().__init__(config)
        self.model.vision_model = ProjectedEfficientNet._from_config(config.vision_config)
        for layer in self.model.gated_cross_attn_layers:
            layer.mlp = IdeficsMLP(config.hidden_size, config.cross_intermediate_size, config.hidden_act)
        self.post_init()
