"""Configuration of EfficientNet-Lite as a vision tower. Needs no torch: it is registered before any model is loaded."""

from __future__ import annotations

from typing import Any

from transformers.configuration_utils import PreTrainedConfig

STRIDE = 32  # pixels of a token's side
# EfficientNet-Lite2, a row a stage: blocks, kernel, stride, expansion, output channels.
LITE2 = (
    (1, 3, 1, 1, 16),
    (3, 3, 2, 6, 24),
    (3, 5, 2, 6, 48),
    (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120),
    (5, 5, 2, 6, 208),
    (1, 3, 1, 6, 352),
)


class EfficientNetLiteConfig(PreTrainedConfig):
    """Configuration of ``EfficientNetLiteModel``.

    Attributes:
        stages: for each stage blocks, kernel, stride, expansion and output channels.
        stem, head: channels of the first and of the last convolution.
        fine_stage: index of the stage whose output, of stride 16, joins the last level in each token.
        pooled_size: 0, or the channels that a pooling head projects each token to, for a model that compares whole
            pictures with texts; see ``EfficientNetLiteModel``.
        pixel_stride: the pixels themselves join each token as the mean colours of squares of this side, since an
            encoder that was trained to name things forgets most colours; it divides 32.
        hidden_size: channels of a token, or ``pooled_size``; see ``gathered_size``.
        image_size: pixels of the square that it was trained with; other multiples of 32 work too.
        patch_size: pixels of a token's side, 32.
    """

    model_type = "efficientnet_lite"
    base_config_key = "vision_config"

    stages: tuple = LITE2
    stem: int = 32
    head: int = 1280
    fine_stage: int = 4
    image_size: int = 288
    patch_size: int = STRIDE
    pixel_stride: int = 8
    pooled_size: int = 0
    hidden_size: int = 1808
    num_channels: int = 3
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        self.stages = tuple(tuple(stage) for stage in self.stages)
        self.hidden_size = self.pooled_size or self.gathered_size
        super().__post_init__(**kwargs)

    @property
    def gathered_size(self) -> int:
        """Channels of a token before a pooling head: the last level, 2 × 2 places of the fine stage, mean colours."""
        return self.head + 4 * self.stages[self.fine_stage][4] + self.num_channels * (STRIDE // self.pixel_stride) ** 2
