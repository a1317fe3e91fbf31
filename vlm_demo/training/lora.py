"""LoRA: low-rank additions to the frozen linear layers of a language model (Hu et al. 2021,
https://arxiv.org/abs/2106.09685).

The frozen weights stay in bf16 where the processor computes it fast; what is trained stays in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

RANK, ALPHA = 16, 32
LINEAR_NAMES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LoraLinear(nn.Module):
    """W x + (alpha / rank) · B A x, with W frozen; [..., in] → [..., out]."""

    def __init__(self, frozen: nn.Linear, rank: int = RANK, alpha: float = ALPHA) -> None:
        super().__init__()
        outputs, inputs = frozen.weight.shape
        self.weight = nn.Parameter(frozen.weight.detach(), requires_grad=False)
        self.A = nn.Parameter(torch.empty(rank, inputs).uniform_(-1, 1) / math.sqrt(inputs))
        self.B = nn.Parameter(torch.zeros(outputs, rank))
        self.scale = alpha / rank
        self.inference_weight: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.inference_weight is not None:
            return linear(x, self.inference_weight)
        low = linear(x, self.A.to(x.dtype))
        return linear(x, self.weight) + linear(low, (self.B * self.scale).to(x.dtype))

    def merged(self) -> Tensor:
        """The weight with the addition in it, float32 [out, in]."""
        return self.weight.float() + self.scale * self.B @ self.A


@contextmanager
def merged_for_inference(layers: Iterable[LoraLinear]) -> Iterator[None]:
    """Inside, each layer is one matrix product, in the precision of its frozen weight, and gets no gradients."""
    layers = list(layers)
    try:
        with torch.no_grad():
            for layer in layers:
                layer.inference_weight = layer.merged().to(layer.weight.dtype)
        yield
    finally:
        for layer in layers:
            layer.inference_weight = None


def add_lora(layers: nn.ModuleList, rank: int = RANK, alpha: float = ALPHA) -> dict[str, LoraLinear]:
    """Replace every linear layer of the decoder layers; returns them by name, ``0.self_attn.q_proj`` and so on."""
    added = {}
    for name, module in list(layers.named_modules()):
        if name.rsplit(".", 1)[-1] in LINEAR_NAMES and isinstance(module, nn.Linear):
            parent = layers.get_submodule(name.rsplit(".", 1)[0])
            added[name] = LoraLinear(module, rank, alpha)
            setattr(parent, name.rsplit(".", 1)[-1], added[name])
    return added
