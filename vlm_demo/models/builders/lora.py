"""LoRA: a language model's weights and trained low-rank updates → merged weights (Hu et al. 2021,
https://arxiv.org/abs/2106.09685, equation 3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vlm_demo.models.builders import Misfit

PREFIX = "lora."


def merged(weights: Mapping[str, Tensor], trained: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """W + (alpha / r) · B A for every matrix that has an update; the others as they are.

    Args:
        weights: of ``LlamaForCausalLM``, ``model.layers.{i}.….weight`` [outputs, inputs] among them.
        trained: ``lora.layers.{i}.….A`` [r, inputs] and ``.B`` [outputs, r]; names without this prefix are passed over.
        alpha: the scale; the rank r is read off the shapes.
    Raises:
        Misfit: an update's other half or the matrix that it is for is missing, or shapes are at odds.
    """
    result = dict(weights)
    halves = {name.removeprefix(PREFIX) for name in trained if name.startswith(PREFIX)}
    paths = {name.rpartition(".")[0] for name in halves}
    for path in sorted(paths):
        name = f"model.{path}.weight"
        if not {f"{path}.A", f"{path}.B"} <= halves or name not in result:
            raise Misfit(f"{path} has half an update, or there is no such matrix")
        down, up, weight = trained[f"{PREFIX}{path}.A"].float(), trained[f"{PREFIX}{path}.B"].float(), result[name]
        rank = down.shape[0]
        if down.shape != (rank, weight.shape[1]) or up.shape != (weight.shape[0], rank):
            raise Misfit(f"{path}: A {list(down.shape)} and B {list(up.shape)} for a matrix {list(weight.shape)}")
        result[name] = torch.addmm(weight, up, down, alpha=alpha / rank)
    if len(halves) != 2 * len(paths):
        raise Misfit("an update has parts that are neither A nor B")
    return result
