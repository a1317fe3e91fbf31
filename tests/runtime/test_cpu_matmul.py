"""The switch between torch's two bf16 products."""

import threading
from pathlib import Path

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
