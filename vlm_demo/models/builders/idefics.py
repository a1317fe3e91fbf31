"""Idefics: SmolLM2 with trained gated cross-attention layers between its own, and EfficientNet-Lite2.

Trained weights have the names of ``EfficientNetIdeficsForVisionText2Text``: ``model.vision_model.feature_head`` and
``model.gated_cross_attn_layers``. What was trained further of the tower is ``tower.…`` (see ``towers``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vlm_demo.models import smollm2
from vlm_demo.models.builders import Misfit, Recipe, saving, towers
from vlm_demo.models.download import Progress
from vlm_demo.models.efficientnet_bridges_config import EfficientNetIdeficsConfig, ProjectedEfficientNetConfig

LAYER = re.compile(r"model\.gated_cross_attn_layers\.(\d+)\.")
KEYS_AND_VALUES = ("self_attn.k_proj.weight", "self_attn.v_proj.weight")


def build(
    recipe: Recipe, trained: Mapping[str, Tensor], parts: Mapping[str, Path], folder: Path, report: Progress
) -> None:
    """See ``builders.Build``; takes 5 to 10 seconds on two cores."""
    from vlm_demo.models.efficientnet_bridges import EfficientNetIdeficsForVisionText2Text

    report(0.1, "reading the language model")
    language = smollm2.read(parts[recipe.language_model])
    report(0.6, "reading the vision encoder")
    tower = towers.of_recipe(recipe, parts, trained)
    found = {int(match[1]) for match in map(LAYER.match, trained) if match}
    inner = trained.get("model.gated_cross_attn_layers.0.mlp.gate_proj.weight")
    if not found or inner is None:
        raise Misfit("there are no gated cross-attention layers")
    config = config_of(language, recipe.image_size, len(found), len(inner))
    rest = {name: tensor for name, tensor in trained.items() if not name.startswith(towers.PREFIX)}
    rest |= {f"model.vision_model.{name}": tensor for name, tensor in tower.weights.items()}
    rest |= repeated(language)
    rest.setdefault("lm_head.weight", rest["model.embed_tokens.weight"])

    report(0.8, "writing it")
    with torch.device("meta"):
        model = EfficientNetIdeficsForVisionText2Text(config)
    saving.save(saving.filled(model, rest), language, tower, recipe.image_size, folder)


def config_of(
    language: smollm2.LanguageModel, image_size: int, crossings: int, inner: int
) -> EfficientNetIdeficsConfig:
    """The configuration of so many gated cross-attention layers, evenly between the language model's.

    Args:
        inner: width of their feed-forward halves.
    Raises:
        Misfit: they can't be spread evenly, or the heads of the language model have a width of their own.
    """
    text = language.config
    if text.num_hidden_layers % crossings:
        raise Misfit(f"{crossings} layers can't be spread over {text.num_hidden_layers}")
    if text.head_dim * text.num_attention_heads != text.hidden_size:
        raise Misfit("the language model's heads are not as wide as Idefics has them")
    return EfficientNetIdeficsConfig(
        vision_config=ProjectedEfficientNetConfig(image_size=image_size, projected_size=text.hidden_size),
        vocab_size=text.vocab_size,
        hidden_size=text.hidden_size,
        intermediate_size=text.intermediate_size,
        num_hidden_layers=text.num_hidden_layers,
        num_attention_heads=text.num_attention_heads,
        hidden_act=text.hidden_act,
        rms_norm_eps=text.rms_norm_eps,
        rope_parameters=dict(text.rope_parameters),
        max_position_embeddings=text.max_position_embeddings,
        bos_token_id=text.bos_token_id,
        eos_token_id=text.eos_token_id,
        pad_token_id=text.pad_token_id,
        tie_word_embeddings=text.tie_word_embeddings,
        cross_layer_interval=text.num_hidden_layers // crossings,
        cross_intermediate_size=inner,
        image_token_id=language.tokenizer.convert_tokens_to_ids(smollm2.IMAGE_TOKEN),
    )


def repeated(language: smollm2.LanguageModel) -> dict[str, Tensor]:
    """The language model's weights as Idefics takes them: it has no grouped queries, so each key and value head stands
    there as often as there are query heads that share it."""
    heads, text = language.config.num_key_value_heads, language.config
    times = text.num_attention_heads // heads
    weights = dict(language.weights)
    for name, weight in weights.items():
        if name.endswith(KEYS_AND_VALUES):
            grouped = weight.reshape(heads, text.head_dim, weight.shape[1])
            weights[name] = grouped.repeat_interleave(times, 0).reshape(-1, weight.shape[1])
    return weights
