"""BLIP-2: SmolLM2 as it is, a trained Q-Former, and EfficientNet-Lite2 → one folder for both of BLIP-2's classes.

Trained weights have the names of ``EfficientNetBlip2ForConditionalGeneration`` (``vision_model.feature_head``,
``query_tokens``, ``qformer``, ``language_projection``) and ``EfficientNetBlip2ForImageTextRetrieval``
(``embeddings.position_embeddings``, ``vision_projection``, ``text_projection``, ``itm_head``). Two have none there:
``embeddings.word_projection.weight`` [d_qformer, d_llm], which maps the language model's word embeddings to the
Q-Former's, and the scalar ``itc_log_scale``. What was trained further of the tower is ``tower.…`` (see ``towers``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlm_demo.models import smollm2
from vlm_demo.models.builders import Misfit, Recipe, saving, towers
from vlm_demo.models.download import Progress
from vlm_demo.models.efficientnet_bridges_config import (
    EfficientNetBlip2Config,
    ProjectedEfficientNetConfig,
    QFormerConfig,
)

HEAD_WIDTH = 64  # of an attention head of the Q-Former
WORD_PROJECTION, LOG_SCALE = "embeddings.word_projection.weight", "itc_log_scale"
LAYER = re.compile(r"qformer\.encoder\.layer\.(\d+)\.(\w+)")
RETRIEVAL = ("embeddings.", "vision_projection.", "text_projection.", "itm_head.")


def build(
    recipe: Recipe, trained: Mapping[str, Tensor], parts: Mapping[str, Path], folder: Path, tell: Progress
) -> None:
    """See ``builders.Build``; takes 5 to 10 seconds on two cores."""
    from vlm_demo.models.efficientnet_bridges import (
        EfficientNetBlip2ForConditionalGeneration,
        EfficientNetBlip2ForImageTextRetrieval,
    )

    tell(0.1, "reading the language model")
    language = smollm2.read(parts[recipe.language_model])
    tell(0.6, "reading the vision encoder")
    tower = towers.of_recipe(recipe, parts, trained)
    config = config_of(trained, language, recipe.image_size)

    tell(0.7, "projecting the word embeddings")
    own = {name: tensor for name, tensor in trained.items() if not name.startswith(towers.PREFIX)}
    words = language.weights["model.embed_tokens.weight"] @ own.pop(WORD_PROJECTION).float().T
    own.pop(LOG_SCALE)
    own["embeddings.word_embeddings.weight"] = words
    heads = {name: own.pop(name) for name in list(own) if name.startswith(RETRIEVAL)}
    own |= {f"vision_model.{name}": tensor for name, tensor in tower.weights.items()}
    shared = {name: tensor for name, tensor in own.items() if not name.startswith("language_projection.")}
    own |= {f"language_model.{name}": tensor for name, tensor in language.weights.items()}
    own.setdefault("language_model.lm_head.weight", own["language_model.model.embed_tokens.weight"])

    tell(0.8, "writing it")
    with torch.device("meta"):
        writes = EfficientNetBlip2ForConditionalGeneration(config)
        compares = EfficientNetBlip2ForImageTextRetrieval(config)
    saving.filled(compares, shared | heads)
    saving.save(saving.filled(writes, own), language, tower, recipe.image_size, folder, heads)


def config_of(
    trained: Mapping[str, Tensor], language: smollm2.LanguageModel, image_size: int
) -> EfficientNetBlip2Config:
    """The configuration whose sizes the trained weights have.

    Raises:
        Misfit: one that tells a size is missing.
    """
    try:
        return _config_of(trained, language, image_size)
    except (KeyError, ValueError, IndexError) as error:
        raise Misfit(f"a weight that tells the size of a part is missing: {error}") from error


def _config_of(trained: Mapping[str, Tensor], language: smollm2.LanguageModel, image_size: int) -> Any:
    found = [match for match in map(LAYER.match, trained) if match]
    layers = 1 + max(int(match[1]) for match in found)
    looking = sorted({int(match[1]) for match in found if match[2] == "crossattention"})
    _, queries, width = trained["query_tokens"].shape
    if trained[WORD_PROJECTION].shape != (width, language.config.hidden_size):
        raise Misfit(f"{WORD_PROJECTION} has the shape {list(trained[WORD_PROJECTION].shape)}")
    qformer = QFormerConfig(
        vocab_size=language.config.vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD_WIDTH,
        intermediate_size=len(trained["qformer.encoder.layer.0.intermediate_query.dense.weight"]),
        max_position_embeddings=len(trained["embeddings.position_embeddings.weight"]),
        pad_token_id=language.config.pad_token_id,
        cross_attention_frequency=looking[1] if len(looking) > 1 else layers,
    )
    return EfficientNetBlip2Config(
        text_config=language.config,
        vision_config=ProjectedEfficientNetConfig(
            image_size=image_size, projected_size=len(trained["vision_model.feature_head.projection.weight"])
        ),
        qformer_config=qformer,
        num_query_tokens=queries,
        image_text_hidden_size=len(trained["vision_projection.weight"]),
        image_token_index=language.tokenizer.convert_tokens_to_ids(smollm2.IMAGE_TOKEN),
        itc_log_scale=round(float(trained[LOG_SCALE]), 6),
        tie_word_embeddings=language.config.tie_word_embeddings,
    )
