"""LoRA: what is trained next to the frozen weights is what is merged into them."""

from __future__ import annotations

import torch
from torch import nn

from vlm_demo.models.builders import lora as builder
from vlm_demo.training.lora import ALPHA, RANK, LoraLinear, merged_for_inference
from vlm_demo.training.trained_parts import Parts


def test_the_merged_weight_computes_what_the_layer_does() -> None:
    torch.manual_seed(0)
    frozen = nn.Linear(12, 20, bias=False)
    layer = LoraLinear(frozen, rank=4, alpha=6)
    x = torch.randn(3, 5, 12)
    torch.testing.assert_close(layer(x), frozen(x))  # B begins at 0
    nn.init.normal_(layer.B)
    assert (layer(x) - frozen(x)).abs().max() > 0.1
    torch.testing.assert_close(layer(x), x @ layer.merged().T)
    torch.testing.assert_close(layer.merged(), frozen.weight + 6 / 4 * layer.B @ layer.A)


def test_merged_layers_compute_the_same_until_they_are_trained_again() -> None:
    torch.manual_seed(0)
    layer = LoraLinear(nn.Linear(12, 20, bias=False))
    nn.init.normal_(layer.B)
    x = torch.randn(3, 12)
    before = layer(x)
    with merged_for_inference([layer]):
        torch.testing.assert_close(layer(x), before)
        assert not layer(x).requires_grad
    nn.init.normal_(layer.B)
    assert layer(x).requires_grad and (layer(x) - before).abs().max() > 0.1


def test_only_the_updates_are_trained(parts: Parts) -> None:
    (name, layer), *_ = parts.lora.items()
    layer(torch.randn(2, layer.weight.shape[1])).sum().backward()
    assert layer.weight.grad is None and layer.A.grad is not None and layer.B.grad is not None, name
    trained = set(parts.trained().values())
    others = [value for value in parts.llm.parameters() if value not in trained]
    assert others and not any(value.requires_grad for value in (*others, *parts.tower.parameters()))


def test_every_matrix_of_every_layer_has_one_by_the_name_that_the_assembly_reads(parts: Parts) -> None:
    assert len(parts.lora) == 7 * parts.llm.config.num_hidden_layers
    weights = {f"model.layers.{name}.weight": layer.weight for name, layer in parts.lora.items()}
    trained = {name: value.detach() for name, value in parts.trained().items()}
    merged = builder.merged(weights, trained, ALPHA)
    for name, layer in parts.lora.items():
        assert layer.A.shape[0] == RANK
        torch.testing.assert_close(merged[f"model.layers.{name}.weight"], layer.merged().detach())
