"""Pretrained: a part's name → a vision tower, or a language model with its tokenizer, to train or to measure.

Finds and checks the weight files as the assembly of an embedded model does, so both stand on the same weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from vlm_demo.models import parts, smollm2
from vlm_demo.models.builders import towers
from vlm_demo.models.download import Progress


class VisionTower(nn.Module):
    """Pixels [B, 3, side, side] over −1..1 → ``last_hidden_state`` [B, patches, channels], without a CLS token.

    However the encoder itself wants pixels normalised, they come over −1..1 here. The features are the last of its
    ``hidden_states``, as ``LlavaForConditionalGeneration`` reads them: of DINOv2 they lie before its last LayerNorm.
    ``pooler_output`` is the encoder's own: of DINOv2 its CLS token, behind that LayerNorm.

    Attributes:
        config: the encoder's; ``hidden_size`` is the channels of a patch.
        fill: the colour, 0..255, that the image processor pads pictures to a square with.
        classifier: see ``towers.Tower``.
    """

    def __init__(self, tower: towers.Tower) -> None:
        super().__init__()
        self.model = AutoModel.from_config(tower.config)
        self.model.load_state_dict(tower.weights)
        self.config: Any = tower.config
        self.fill = tuple(int(255 * channel) for channel in tower.mean)
        self.classifier = tower.classifier
        self._cls_tokens = tower.cls_tokens
        # ((x + 1) / 2 − mean) / std as scale · x + shift: for a mean and a spread of a half that is x, to the last bit.
        self._scale = [0.5 / std for std in tower.std]
        self._shift = [(0.5 - mean) / std for mean, std in zip(tower.mean, tower.std, strict=True)]

    def forward(self, pixels: Tensor) -> BaseModelOutputWithPooling:
        scale, shift = (torch.tensor(three)[:, None, None] for three in (self._scale, self._shift))
        normalised = pixels.float() * scale + shift
        output = self.model(normalised.to(self.model.dtype), output_hidden_states=True)
        patches = output.hidden_states[-1][:, self._cls_tokens :]
        return BaseModelOutputWithPooling(last_hidden_state=patches, pooler_output=output.pooler_output)


def vision_tower(name: str, image_size: int, report: Progress) -> VisionTower:
    """The tower of that name, float32, for squares of ``image_size`` pixels.

    Raises:
        ModelNotFound, UnsupportedModel, VlmDemoError: see ``parts.find`` and ``builders.towers.read``.
    """
    return VisionTower(towers.read(name, parts.find(name, report), image_size)).eval()


def language_model(name: str, report: Progress, layers: int = 0) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """The language model of that name, float32, and its tokenizer, which knows ``<image>``.

    Args:
        layers: how many of its layers are kept, see ``smollm2.shortened``; 0 = all.

    Raises:
        ModelNotFound, UnsupportedModel, VlmDemoError: see ``parts.find``, ``smollm2.read`` and ``smollm2.shortened``.
    """
    read = smollm2.shortened(smollm2.read(parts.find(name, report)), layers)
    weights = dict(read.weights)
    weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    model = LlamaForCausalLM(read.config)
    model.load_state_dict(weights)
    return model.eval(), read.tokenizer
