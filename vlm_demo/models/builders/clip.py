"""CLIP: a vision tower with a trained pooling head, and MiniLM with a trained one → ``VisionTextDualEncoderModel``.

Trained weights: ``picture.project|score.…`` (see ``efficientnet_lite.AttentionPool``), ``picture.out.weight``,
``text.hidden.weight|bias`` (BERT's pooler), ``text.out.weight``, and ``logit_scale``, the logarithm of 1 / temperature.
Both towers themselves are as they were published.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vlm_demo.models import minilm
from vlm_demo.models.builders import Misfit, Recipe, saving, towers
from vlm_demo.models.builders.pixels import image_processor
from vlm_demo.models.download import Progress

# What was trained → where it is in the model.
PLACES = {
    "picture.project.weight": "vision_model.pool.project.weight",
    "picture.project.bias": "vision_model.pool.project.bias",
    "picture.score.weight": "vision_model.pool.score.weight",
    "picture.out.weight": "visual_projection.weight",
    "text.hidden.weight": "text_model.pooler.dense.weight",
    "text.hidden.bias": "text_model.pooler.dense.bias",
    "text.out.weight": "text_projection.weight",
    "logit_scale": "logit_scale",
}


def build(
    recipe: Recipe, trained: Mapping[str, Tensor], parts: Mapping[str, Path], folder: Path, report: Progress
) -> None:
    """See ``builders.Build``; takes 1 to 3 seconds on two cores."""
    from transformers import VisionTextDualEncoderConfig, VisionTextDualEncoderModel

    if trained.keys() != PLACES.keys():
        raise Misfit(f"at odds: {', '.join(sorted(trained.keys() ^ PLACES.keys()))}")
    report(0.1, "reading the text tower")
    text = minilm.read(parts[recipe.language_model])
    report(0.5, "reading the vision encoder")
    tower = towers.read(recipe.vision_tower, parts[recipe.vision_tower], recipe.image_size)
    vision_config = tower.config.to_dict() | {"pooled_size": len(trained["picture.project.bias"])}
    config = VisionTextDualEncoderConfig(
        vision_config=vision_config,
        text_config=text.config.to_dict(),
        projection_dim=len(trained["text.out.weight"]),
        logit_scale_init_value=float(trained["logit_scale"]),
    )
    weights = {f"vision_model.{name}": tensor for name, tensor in tower.weights.items()}
    weights |= {f"text_model.{name}": tensor for name, tensor in text.weights.items()}
    weights |= {PLACES[name]: tensor for name, tensor in trained.items()}

    report(0.8, "writing it")
    model = VisionTextDualEncoderModel(config)  # not on "meta": no file holds BERT's buffers of positions
    saving.filled(model, weights).to(torch.bfloat16).save_pretrained(folder)
    text.tokenizer.save_pretrained(folder)
    image_processor(tower, recipe.image_size).save_pretrained(folder)
