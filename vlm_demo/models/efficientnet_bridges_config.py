"""Configurations of BLIP-2 and Idefics that see through EfficientNet-Lite.

They are registered while transformers' tables of automatic classes are being imported, perhaps by one of its own
configurations. So nothing here imports any of those: the fields of BLIP-2's and Idefics' are written out.
"""

from __future__ import annotations

from typing import Any

from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec

from vlm_demo.models.efficientnet_lite_config import EfficientNetLiteConfig


class ByModelType:
    """Stands where ``SubConfigSpec`` expects ``AutoConfig``: a configuration's class goes by its ``model_type``."""


class ProjectedEfficientNetConfig(EfficientNetLiteConfig):
    """Configuration of ``ProjectedEfficientNet``.

    Attributes:
        projected_size: width of the features that it gives.
        hidden_size: the same, as every class that reads features asks for it.
        channels: of a token of the tower itself.
        positions: tokens of a picture of ``image_size``.
    """

    model_type = "projected_efficientnet"

    projected_size: int = 384
    channels: int = 1808
    positions: int = 81

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.channels, self.hidden_size = self.hidden_size, self.projected_size
        self.positions = (self.image_size // self.patch_size) ** 2


class QFormerConfig(PreTrainedConfig):
    """Configuration of ``Blip2QFormerModel``: the fields of ``Blip2QFormerConfig``, without dropout by default."""

    model_type = "blip_2_qformer"
    base_config_key = "qformer_config"

    vocab_size: int = 49152
    hidden_size: int = 384
    num_hidden_layers: int = 6
    num_attention_heads: int = 6
    intermediate_size: int = 576
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    max_position_embeddings: int = 64
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    cross_attention_frequency: int = 2
    encoder_hidden_size: int = 384
    use_qformer_text_input: bool = True


class EfficientNetBlip2Config(PreTrainedConfig):
    """Configuration of ``EfficientNetBlip2ForConditionalGeneration`` and ``…ForImageTextRetrieval``: the fields of
    ``Blip2Config``.

    Attributes:
        num_query_tokens: image tokens of a picture.
        image_text_hidden_size: width of the vectors that are compared.
        itc_log_scale: log(1 / temperature) of these comparisons.
    """

    model_type = "efficientnet_blip2"
    attribute_map = {"image_token_id": "image_token_index"}
    sub_configs_defaults = {
        "text_config": SubConfigSpec(ByModelType, model_type="llama"),
        "vision_config": ProjectedEfficientNetConfig,
        "qformer_config": QFormerConfig,
    }

    text_config: Any = None
    vision_config: Any = None
    qformer_config: Any = None
    num_query_tokens: int = 32
    image_text_hidden_size: int = 256
    image_token_index: int | None = None
    initializer_factor: float = 1.0
    initializer_range: float = 0.02
    itc_log_scale: float = 0.0
    use_decoder_only_language_model: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.qformer_config.encoder_hidden_size = self.vision_config.hidden_size


class EfficientNetIdeficsConfig(PreTrainedConfig):
    """Configuration of ``EfficientNetIdeficsForVisionText2Text``: the fields of ``IdeficsConfig`` for a model without a
    resampler.

    Attributes:
        cross_intermediate_size: inner width of the feed-forward half of a gated cross-attention layer.
        image_token_id: the token that marks a picture in the text.
    """

    model_type = "efficientnet_idefics"
    sub_configs_defaults = {"vision_config": ProjectedEfficientNetConfig}

    vision_config: Any = None
    vocab_size: int = 49152
    additional_vocab_size: int = 0
    hidden_size: int = 576
    intermediate_size: int = 1536
    num_hidden_layers: int = 30
    num_attention_heads: int = 9
    max_position_embeddings: int = 8192
    rope_parameters: dict | None = None
    rms_norm_eps: float = 1e-5
    hidden_act: str = "silu"
    dropout: float = 0.0
    initializer_range: float = 0.02
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | None = 2
    tie_word_embeddings: bool = True
    cross_layer_interval: int = 5
    cross_intermediate_size: int = 512
    alpha_type: str = "vector"
    alpha_initializer: str = "zeros"
    alphas_initializer_range: float = 0.0
    qk_layer_norms: bool = True
    freeze_text_layers: bool = True
    freeze_text_module_exceptions: tuple = ()
    freeze_lm_head: bool = True
    freeze_vision_layers: bool = True
    freeze_vision_module_exceptions: tuple = ()
    use_resampler: bool = False
    image_token_id: int | None = None
