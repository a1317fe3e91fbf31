"""Towers: a pretrained vision encoder as training calls it, giving the very features that the finished model reads.

Takes pixels over −1..1, however the encoder itself wants them normalised, and leaves out what stands before patches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers.modeling_outputs import BaseModelOutput

from vlm_demo.models import parts
from vlm_demo.models.builders import towers


class Seeing(nn.Module):
    """Pixels float32 [B, 3, side, side] over −1..1 → ``last_hidden_state`` [B, patches, channels].

    These are the last of the encoder's ``hidden_states``, as ``LlavaForConditionalGeneration`` reads them: of DINOv2
    they lie before its last LayerNorm.

    Attributes:
        config: the encoder's; ``hidden_size`` is the channels of a patch.
        fill: the colour, 0..255, that the image processor pads pictures to a square with.
    """

    def __init__(self, tower: towers.Tower) -> None:
        super().__init__()
        self.model = AutoModel.from_config(tower.config)
        self.model.load_state_dict(tower.weights)
        self.config: Any = tower.config
        self.fill = tuple(int(255 * channel) for channel in tower.mean)
        self._mean, self._std, self._first = tower.mean, tower.std, tower.cls_tokens

    def forward(self, pixels: Tensor) -> BaseModelOutput:
        mean, std = (torch.tensor(three)[:, None, None] for three in (self._mean, self._std))
        normalised = ((pixels.float() + 1) / 2 - mean) / std
        states = self.model(normalised.to(self.model.dtype), output_hidden_states=True).hidden_states
        return BaseModelOutput(last_hidden_state=states[-1][:, self._first :])


def seeing(name: str, image_size: int, tell: Callable[[float | None, str], None]) -> Seeing:
    """The encoder of a pretrained part, found or fetched (see ``parts.find``).

    Raises:
        UnsupportedModel, ModelNotFound, VlmDemoError: see ``parts.find`` and ``builders.towers.read``.
    """
    return Seeing(towers.read(name, parts.find(name, tell), image_size)).eval()
