"""Export: trained tensors and their recipe → the files that an embedded model is assembled from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vlm_demo.models import builders
from vlm_demo.models.builders import Recipe
from vlm_demo.models.embedded import TRAINED
from vlm_demo.training.record import CHECKPOINT

OMITTED_IF_ZERO = ("lora_alpha", "language_layers")  # entries of a recipe


def export(weights: Mapping[str, Tensor], folder: Path, recipe: Recipe) -> None:
    """Write ``trained.safetensors`` (bf16) and ``recipe.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.bfloat16().contiguous() for name, value in weights.items()}, folder / TRAINED)
    written = {name: value for name, value in asdict(recipe).items() if name not in OMITTED_IF_ZERO or value}
    (folder / builders.RECIPE).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


def export_run(run: Path, folder: Path, recipe: Recipe, init: Path | None = None, init_share: float = 0.0) -> None:
    """Write the averaged weights of a run of ``finetune.Trainer``; of one that has not reached the language
    model's loss, the last ones.

    Args:
        init: a ``trained.safetensors``, of whose tensors ``init_share``, 0..1, is mixed in: the mean of
            weights before and after fine-tuning keeps more of what both can do (Wortsman et al. 2022,
            https://arxiv.org/abs/2109.01903).
    """
    state = torch.load(run / CHECKPOINT, weights_only=True)
    weights = state["average"] or state["trained"]
    if init is not None and init_share:
        before = load_file(init)
        weights = {
            name: torch.lerp(value.float(), before.get(name, value).float(), init_share)
            for name, value in weights.items()
        }
    export(weights, folder, recipe)
