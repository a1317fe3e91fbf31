"""EfficientNet-Lite as a vision tower: pixels → patch features on two levels, one token for each 32 × 32 pixels.

A transformers model that ``LlavaForConditionalGeneration`` takes as any other tower (see ``registration``).
Batch normalization is folded into the convolutions (``from_published``), so training the tower's last blocks leaves the
normalization frozen. Architecture: Tan & Le 2019 (https://arxiv.org/abs/1905.11946), without squeeze-and-excitation and
with ReLU6, as TensorFlow's EfficientNet-Lite has it; the published weights are read, never their code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad, pixel_unshuffle
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import PreTrainedModel

from vlm_demo.models.efficientnet_lite_config import LITE2, STRIDE, EfficientNetLiteConfig

__all__ = ["LITE2", "STRIDE", "EfficientNetLiteConfig", "EfficientNetLiteModel", "from_published"]

BATCH_NORM_EPS = 1e-3


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: the output side is ceil(side / stride)."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        extra = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (x.shape[3], x.shape[2])]
        if any(extra):
            x = pad(x, [extra[0] // 2, extra[0] - extra[0] // 2, extra[1] // 2, extra[1] - extra[1] // 2])
        return super().forward(x)


class Block(nn.Module):
    """Inverted residual block: expand 1 × 1 → depthwise → project 1 × 1, added to the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.expand = nn.Conv2d(inputs, middle, 1) if expansion != 1 else None
        self.depthwise = SameConv(middle, middle, kernel, stride, groups=middle)
        self.project = nn.Conv2d(middle, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:  # [B, inputs, H, W] → [B, outputs, H / stride, W / stride]
        y = x if self.expand is None else nn.functional.relu6(self.expand(x))
        y = self.project(nn.functional.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class AttentionPool(nn.Module):
    """Tokens → one vector for the picture: each is brought to fewer channels, and then their mean is taken, weighted by
    how much each says that it matters."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project, self.score = nn.Linear(inputs, outputs), nn.Linear(outputs, 1, bias=False)

    def tokens(self, gathered: Tensor) -> Tensor:  # [B, N, inputs] → [B, N, outputs]
        return nn.functional.gelu(self.project(gathered))

    def forward(self, tokens: Tensor) -> Tensor:  # [B, N, outputs] → [B, outputs]
        weights = self.score(tokens).softmax(1)  # [B, N, 1]
        return (weights * tokens).sum(1)


class EfficientNetLiteModel(PreTrainedModel):
    """[B, 3, H, W] → patch features [B, H/32 × W/32, hidden_size], in reading order.

    A token holds the last level, the 2 × 2 places of the stride-16 level that lie under it, and the mean
    colours of 4 × 4 squares of its pixels, so that colour, edges and small shapes survive. ``hidden_states[-1]`` and
    ``last_hidden_state`` are both these tokens. Where the configuration has a ``pooled_size`` a head projects each
    to so many channels, and ``pooler_output`` is its pooled vector; elsewhere that is the mean of the last level.
    """

    config: EfficientNetLiteConfig
    config_class = EfficientNetLiteConfig
    base_model_prefix = "vision_tower"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    _no_split_modules = ("Block",)
    # It has no attention, so a model that it is a part of may choose any.
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.stem = SameConv(config.num_channels, config.stem, 3, 2)
        self.stages = nn.ModuleList()
        channels = config.stem
        for blocks, kernel, stride, expansion, outputs in config.stages:
            stage = nn.Sequential()
            for i in range(blocks):
                stage.append(Block(channels, outputs, kernel, stride if i == 0 else 1, expansion))
                channels = outputs
            self.stages.append(stage)
        self.head = nn.Conv2d(channels, config.head, 1)
        self.pool = AttentionPool(config.gathered_size, config.pooled_size) if config.pooled_size else None
        self.post_init()

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Patch features of normalised pixels [B, 3, H, W]; H and W are multiples of 32."""
        x = pixel_values.to(self.stem.weight.dtype).contiguous(memory_format=torch.channels_last)
        x = nn.functional.relu6(self.stem(x))
        fine = x
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i == self.config.fine_stage:
                fine = x  # [B, fine, H/16, W/16]
        last = nn.functional.relu6(self.head(x))  # [B, head, H/32, W/32]
        side = self.config.pixel_stride
        colours = pixel_unshuffle(avg_pool2d(pixel_values.to(last.dtype), side), STRIDE // side)
        tokens = torch.cat([last, pixel_unshuffle(fine, 2), colours], 1)  # [B, gathered_size, H/32, W/32]
        tokens = tokens.flatten(2).transpose(1, 2).contiguous()  # [B, H/32 × W/32, gathered_size]
        if self.pool is None:
            pooled = last.mean((2, 3))
        else:
            tokens = self.pool.tokens(tokens)
            pooled = self.pool(tokens)
        return BaseModelOutputWithPooling(last_hidden_state=tokens, pooler_output=pooled, hidden_states=(tokens,))


def from_published(published: Mapping[str, Tensor], config: EfficientNetLiteConfig) -> dict[str, Tensor]:
    """The published state dict → this class's, each batch normalization folded into the convolution before it.

    Args:
        published: ``_conv_stem``, ``_blocks.N.…``, ``_conv_head`` and their ``_bn`` layers; the classifier is left out.
        config: sets how many blocks each stage has.
    Raises:
        KeyError: a layer is missing.
    """
    folded: dict[str, Tensor] = {}

    def fold(name: str, conv: str, norm: str) -> None:
        scale = published[f"{norm}.weight"] / (published[f"{norm}.running_var"] + BATCH_NORM_EPS).sqrt()
        folded[f"{name}.weight"] = published[f"{conv}.weight"] * scale[:, None, None, None]
        folded[f"{name}.bias"] = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * scale

    fold("stem", "_conv_stem", "_bn0")
    number = 0
    for i, (blocks, _, _, expansion, _) in enumerate(config.stages):
        for j in range(blocks):
            ours, theirs = f"stages.{i}.{j}", f"_blocks.{number}"
            if expansion != 1:
                fold(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
            fold(f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            fold(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
            number += 1
    fold("head", "_conv_head", "_bn1")
    return folded
