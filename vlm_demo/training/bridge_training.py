"""Bridges: what training a projector, a Q-Former and gated cross-attention have in common.

The vision tower and the language model's own weights are frozen, and what is trained lies between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

MATRICES_DECAY = 0.01


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
