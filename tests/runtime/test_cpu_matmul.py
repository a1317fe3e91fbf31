"""The switch between torch's two bf16 products."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import Linear

from tests.kit.tiny import tiny_llava
from vlm_demo import Pipeline
from vlm_demo.runtime import cpu_matmul

pytestmark = pytest.mark.usefixtures("bf16_as_stored")


def enabled() -> bool:
    return torch._C._get_mkldnn_enabled()


def test_the_switch_is_back_after_the_last_who_wanted_it() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with cpu_matmul.native_bf16(True):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with cpu_matmul.native_bf16(True):
        thread.start()
        assert inside.wait(10) and not enabled()
    assert not enabled()  # the other one still computes
    leave.set()
    thread.join()
    assert enabled()
    with pytest.raises(ValueError, match="on the way"), cpu_matmul.native_bf16(True):
        raise ValueError("on the way")
    assert enabled()
    with cpu_matmul.native_bf16(False):
        assert enabled()


def test_both_products_are_the_same_but_for_the_last_digit() -> None:
    torch.manual_seed(0)
    layer, row = Linear(256, 512, bias=False, dtype=torch.bfloat16), torch.randn(1, 1, 256, dtype=torch.bfloat16)
    with torch.no_grad():
        usual, exact = layer(row), row.double() @ layer.weight.double().T
        with cpu_matmul.native_bf16(True):
            native = layer(row)
    digit = torch.finfo(torch.bfloat16).eps * exact.abs().max()
    assert (native - exact).abs().max() < digit and (usual - exact).abs().max() < digit


def test_only_bf16_is_better_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert cpu_matmul.native_bf16_is_faster(Linear(8, 8, dtype=torch.bfloat16))
    mixed = torch.nn.Sequential(Linear(8, 8, dtype=torch.bfloat16), Linear(8, 8))
    assert not cpu_matmul.native_bf16_is_faster(mixed) and not cpu_matmul.native_bf16_is_faster(Linear(8, 8))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not cpu_matmul.native_bf16_is_faster(Linear(8, 8, dtype=torch.bfloat16))


def test_a_prompt_is_read_by_onednn_and_a_single_token_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    pipe = Pipeline.from_pretrained(tiny_llava(tmp_path, dtype=torch.bfloat16))
    pipe.stages().llm.ends = frozenset()
    met: list[tuple[int, bool]] = []
    layer = pipe.stages().llm.family.language_layers[0]
    layer.register_forward_pre_hook(lambda _, given: met.append((given[0].shape[1], enabled())))
    pipe.ask(noise(60, 60), "How many?", max_new_tokens=3)
    assert [on for tokens, on in met if tokens > 1] and all(on for tokens, on in met if tokens > 1)
    assert [on for tokens, on in met if tokens == 1] == [False, False] and enabled()


def test_packed_weights_give_the_same_products_until_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any number of rows; gradients go the usual way, and weights that were changed are not what was packed."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    torch.manual_seed(0)
    used = list[int]()
    pointwise = torch.ops.mkldnn._linear_pointwise

    def counted(*given: Any) -> torch.Tensor:
        used.append(len(given[0]))
        return pointwise(*given)

    layers = [Linear(96, 80, dtype=torch.bfloat16), Linear(96, 80, bias=False, dtype=torch.bfloat16)]
    rows = [torch.randn(count, 3, 96, dtype=torch.bfloat16) for count in (1, 2, 8, 100)]
    alone = torch.randn(1, 96, dtype=torch.bfloat16)
    with torch.no_grad():
        usual = [[layer(given) for given in (*rows, alone)] for layer in layers]
        cpu_matmul.pack(*layers, most=10**6)
        monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted)
        for layer, products in zip(layers, usual, strict=True):
            assert all(map(torch.equal, [layer(given) for given in (*rows, alone)], products))
        assert used == [1, 2, 8, 100] * 2
        with cpu_matmul.as_stored():
            assert torch.equal(layers[1](rows[2]), usual[1][2])
        layers[1].weight.mul_(2)
        assert torch.equal(layers[1](rows[2]), 2 * usual[1][2])
    wanted = rows[0].clone().requires_grad_()
    layers[0](wanted).sum().backward()
    assert wanted.grad is not None and len(used) == 8


def test_large_models_and_other_precisions_are_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    layers = Linear(8, 8, dtype=torch.bfloat16), Linear(8, 8)
    for most in (2 * 8 * 8 - 1, 2 * 8 * 8):
        assert not any("forward" in vars(layer) for layer in layers)
        cpu_matmul.pack(*layers, most=most)
    assert ["forward" in vars(layer) for layer in layers] == [True, False]
