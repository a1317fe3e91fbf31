"""Bridges: what training a Q-Former and training gated cross-attention have in common.

In both the vision tower and the language model are frozen, and all that is trained lies between them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

MATRICES_DECAY = 0.01
PARTS = {"language_model": "smollm2-135m-instruct", "vision_tower": "efficientnet-lite2"}


def frozen(module: Any, dtype: torch.dtype) -> Any:
    """A module without gradients, in eval mode and in this dtype; its rotary frequencies stay in float32, as they are
    in every loaded checkpoint: rounded to bf16 they turn distant tokens by the wrong angle."""
    exact = {name: buffer.clone() for name, buffer in module.named_buffers() if name.endswith("inv_freq")}
    module = module.to(dtype).eval().requires_grad_(False)
    for name, buffer in exact.items():
        owner, _, last = name.rpartition(".")
        setattr(module.get_submodule(owner), last, buffer)
    return module


def groups(parameters: Iterable[nn.Parameter], scale: float = 1.0) -> list[dict[str, Any]]:
    """Two parameter groups of an optimizer: matrices, which decay, and vectors, whose learning rate is ``scale`` times
    as high."""
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for value in parameters:
        (matrices if sum(side > 1 for side in value.shape) > 1 else vectors).append(value)
    return [
        {"params": matrices, "weight_decay": MATRICES_DECAY, "scale": 1.0},
        {"params": vectors, "weight_decay": 0.0, "scale": scale},
    ]


def export(checkpoint: Path, folder: Path, family: str, image_size: int) -> int:
    """The averaged weights of a run's ``checkpoint.pt`` → ``trained.safetensors`` (bf16) and ``recipe.json``; of a run
    that has not come to the language model's loss, the last ones.

    Args:
        family: ``blip2`` or ``idefics``.
        image_size: pixels of the square that the run trained with.
    Returns:
        Bytes of the trained weights.
    """
    state = torch.load(checkpoint, weights_only=True)
    weights = state["average"] or state["trained"]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "trained.safetensors"
    save_file({name: value.bfloat16().contiguous() for name, value in weights.items()}, file)
    recipe = {"family": family, **PARTS, "image_size": image_size}
    (folder / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")
    return file.stat().st_size
