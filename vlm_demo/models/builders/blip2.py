"""BLIP-2: SmolLM2 as it is, a Q-Former that began as MiniLM, and EfficientNet-Lite2 → one folder for both of BLIP-2's
classes.

Trained weights have the names of ``EfficientNetBlip2ForConditionalGeneration`` (``vision_model.feature_head``,
``query_tokens``, ``qformer``, ``language_projection``) and ``EfficientNetBlip2ForImageTextRetrieval``
(``vision_projection``, ``text_projection``, ``itm_head``), and there is the scalar ``itc_log_scale``. What
the Q-Former has that was not trained is MiniLM's, with its word embeddings and its tokenizer. What was trained further
of the tower is ``tower.…`` (see ``towers``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlm_demo.models import minilm, smollm2
from vlm_demo.models.adapters.blip2_retrieval import QFORMER_TOKENIZER
from vlm_demo.models.builders import Misfit, Recipe, saving, towers
from vlm_demo.models.download import Progress
from vlm_demo.models.efficientnet_bridges_config import (
    EfficientNetBlip2Config,
    ProjectedEfficientNetConfig,
    QFormerConfig,
)

LONGEST_TEXT = 64  # tokens
LOG_SCALE = "itc_log_scale"
LAYER = re.compile(r"qformer\.encoder\.layer\.(\d+)\.(\w+)")
RETRIEVAL = ("embeddings.", "vision_projection.", "text_projection.", "itm_head.")


def build(
    recipe: Recipe, trained: Mapping[str, Tensor], parts: Mapping[str, Path], folder: Path, report: Progress
) -> None:
    """See ``builders.Build``; takes 5 to 10 seconds on two cores."""
    from vlm_demo.models.efficientnet_bridges import (
        EfficientNetBlip2ForConditionalGeneration,
        EfficientNetBlip2ForImageTextRetrieval,
    )

    if not recipe.text_encoder:
        raise Misfit("the recipe names no text_encoder")
    report(0.1, "reading the language model")
    language = smollm2.read(parts[recipe.language_model])
    report(0.6, "reading the vision encoder")
    tower = towers.of_recipe(recipe, parts, trained)
    report(0.7, "reading the text encoder")
    text = minilm.read(parts[recipe.text_encoder])
    config = config_of(trained, language, text, recipe.image_size)

    qformer = dict(minilm.qformer_weights(text, LONGEST_TEXT))
    qformer |= {name: tensor for name, tensor in trained.items() if not name.startswith(towers.PREFIX)}
    qformer.pop(LOG_SCALE)
    heads = {name: qformer.pop(name) for name in list(qformer) if name.startswith(RETRIEVAL)}
    qformer |= {f"vision_model.{name}": tensor for name, tensor in tower.weights.items()}
    shared = {name: tensor for name, tensor in qformer.items() if not name.startswith("language_projection.")}
    qformer |= {f"language_model.{name}": tensor for name, tensor in language.weights.items()}
    qformer.setdefault("language_model.lm_head.weight", qformer["language_model.model.embed_tokens.weight"])

    report(0.8, "writing it")
    with torch.device("meta"):
        writes = EfficientNetBlip2ForConditionalGeneration(config)
        compares = EfficientNetBlip2ForImageTextRetrieval(config)
    saving.filled(compares, shared | heads)
    saving.save(saving.filled(writes, qformer), language, tower, recipe.image_size, folder, heads)
    text.tokenizer.save_pretrained(folder / QFORMER_TOKENIZER)


def qformer_config(text: minilm.TextTower, cross_every: int) -> QFormerConfig:
    """Of a Q-Former that begins as this text encoder, every so many-th layer of which looks at the picture."""
    text_config = text.config
    return QFormerConfig(
        vocab_size=text_config.vocab_size,
        hidden_size=text_config.hidden_size,
        num_hidden_layers=text.trained_layers,
        num_attention_heads=text_config.num_attention_heads,
        intermediate_size=text_config.intermediate_size,
        hidden_act=text_config.hidden_act,
        layer_norm_eps=text_config.layer_norm_eps,
        max_position_embeddings=LONGEST_TEXT,
        pad_token_id=text_config.pad_token_id,
        cross_attention_frequency=cross_every,
    )


def config_of(
    trained: Mapping[str, Tensor], language: smollm2.LanguageModel, text: minilm.TextTower, image_size: int
) -> EfficientNetBlip2Config:
    """The configuration whose sizes the trained weights have.

    Raises:
        Misfit: one from which a size is read is missing.
    """
    try:
        return _config_of(trained, language, text, image_size)
    except (KeyError, ValueError, IndexError) as error:
        raise Misfit(f"a weight that tells the size of a part is missing: {error}") from error


def _config_of(
    trained: Mapping[str, Tensor], language: smollm2.LanguageModel, text: minilm.TextTower, image_size: int
) -> Any:
    found = [match for match in map(LAYER.match, trained) if match]
    cross_layers = sorted({int(match[1]) for match in found if match[2] == "crossattention"})
    qformer = qformer_config(text, cross_layers[1] if len(cross_layers) > 1 else text.trained_layers)
    _, queries, width = trained["query_tokens"].shape
    if width != qformer.hidden_size:
        raise Misfit(f"the queries are {width} wide and the text encoder {qformer.hidden_size}")
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
