"""Usual: the implementation of ``adapters.Writer`` and ``adapters.Family`` that most families share."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from vlm_demo.contracts import ImageTokens, Prompt
from vlm_demo.models.patch_geometry import Cut, whole


class OneTile:
    """Families whose encoder gets a picture in one piece, and cuts it into square patches; needs ``config``."""

    config: Any

    def cut(self, processor: Any, image: Image.Image) -> Cut:
        return whole(processor, image, self.grid)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        patch = self.config.vision_config.patch_size
        return height // patch, width // patch


class Writes:
    """Families that write; each overrides what differs."""

    writes = True
    as_a_whole = False
    joint_tiles = False
    bridge_reads = False
    sees_ahead = False
    pictures_see_ahead = False
    picture_layers: frozenset[int] = frozenset()
    matcher: Any = None
    placeholder: str | None = None
    among_words = True
    image_attentions: frozenset[torch.nn.Module] | None = None
    bridge_attentions: frozenset[torch.nn.Module] = frozenset()

    def language_model_inputs(self, image_tokens: ImageTokens, prompt: Prompt, positions: range) -> dict[str, Any]:
        return {}


def fitted(features: torch.Tensor, linear: torch.nn.Module) -> torch.Tensor:
    """Features on a linear layer's device and in its dtype; one that is packed into 8 or 4 bit takes any."""
    weight = linear.weight
    assert isinstance(weight, torch.Tensor)
    return features.to(weight.device, weight.dtype if weight.is_floating_point() else features.dtype)
