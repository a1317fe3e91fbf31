"""LLaVA: SmolLM2 with merged LoRA, a trained projector, and a vision tower → ``LlavaForConditionalGeneration``.

Trained weights: ``projector.linear_1|linear_2.weight|bias``, ``lora.…`` (see ``lora``), and where the tower was trained
too ``tower.…`` (see ``towers``). One image token for each patch of the tower: 32 × 32 pixels of EfficientNet-Lite2,
14 × 14 of DINOv2, with which the folder needs no class but transformers' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vlm_demo.models import smollm2
from vlm_demo.models.builders import Misfit, Recipe, lora, saving, towers
from vlm_demo.models.builders.pixels import image_processor
from vlm_demo.models.download import Progress

PROJECTOR = "projector."
KNOWN = (PROJECTOR, lora.PREFIX, towers.PREFIX)


def build(
    recipe: Recipe, trained: Mapping[str, Tensor], parts: Mapping[str, Path], folder: Path, report: Progress
) -> None:
    """See ``builders.Build``; takes 5 to 10 seconds on two cores."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    unknown = sorted(name for name in trained if not name.startswith(KNOWN))
    if unknown:
        raise Misfit(f"no part of a LLaVA: {', '.join(unknown)}")
    report(0.1, "reading the language model")
    language = smollm2.shortened(smollm2.read(parts[recipe.language_model]), recipe.language_layers)
    report(0.6, "merging what was trained into it")
    words = lora.merged(language.weights, trained, recipe.lora_alpha)
    report(0.7, "reading the vision encoder")
    tower = towers.of_recipe(recipe, parts, trained)

    config = LlavaConfig(
        vision_config=tower.config,
        text_config=language.config,
        image_token_index=language.tokenizer.convert_tokens_to_ids(smollm2.IMAGE_TOKEN),
        image_seq_length=(recipe.image_size // tower.config.patch_size) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy=strategy(tower),
        projector_hidden_act="gelu",
        tie_word_embeddings=language.config.tie_word_embeddings,
    )
    weights = {f"model.language_model.{name.removeprefix('model.')}": tensor for name, tensor in words.items()}
    weights |= {f"model.vision_tower.{name}": tensor for name, tensor in tower.weights.items()}
    weights |= {
        f"model.multi_modal_projector.{name.removeprefix(PROJECTOR)}": tensor
        for name, tensor in trained.items()
        if name.startswith(PROJECTOR)
    }
    # Where the head is not tied it came with the others.
    weights["lm_head.weight"] = weights.pop(
        "model.language_model.lm_head.weight", weights["model.language_model.embed_tokens.weight"]
    )

    report(0.8, "writing it")
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    saving.filled(model, weights).tie_weights()
    _save(model, language, tower, recipe.image_size, folder)


def strategy(tower: towers.Tower) -> str:
    """Which of the tower's tokens are read (``vision_feature_select_strategy``): ``default`` = all but the first."""
    return "default" if tower.cls_tokens else "full"


def _save(
    model: torch.nn.Module, language: smollm2.LanguageModel, tower: towers.Tower, image_size: int, folder: Path
) -> None:
    from transformers import LlavaProcessor

    model.generation_config = saving.generation_config(language)
    model.save_pretrained(folder)
    LlavaProcessor(
        image_processor=image_processor(tower, image_size),
        tokenizer=language.tokenizer,
        patch_size=tower.config.patch_size,
        vision_feature_select_strategy=strategy(tower),
        num_additional_image_tokens=tower.cls_tokens,
        chat_template=smollm2.CHAT_TEMPLATE,
    ).save_pretrained(folder)
