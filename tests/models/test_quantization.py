"""Quantization: which layers really change, which stay, and what they weigh."""

import importlib.util
from pathlib import Path

import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt

from tests.tiny import tiny_llava
from vlm_demo import Pipeline
from vlm_demo.errors import QuantizationUnavailable
from vlm_demo.models.quantization import config_for, memory_of

LAYERS = {"8bit": Linear8bitLt, "4bit": Linear4bit}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("wide"), dtype=torch.bfloat16, width=128)


@pytest.mark.parametrize("quantize", LAYERS)
def test_the_language_model_alone_is_quantized(folder: Path, quantize: str, noise) -> None:
    pipe = Pipeline.from_pretrained(folder, quantize=quantize)
    assert pipe.precision == quantize
    inside = [m for n, m in pipe.model.named_modules() if isinstance(m, torch.nn.Linear) and "language_model" in n]
    outside = [m for n, m in pipe.model.named_modules() if isinstance(m, torch.nn.Linear) and "language_model" not in n]
    assert len(inside) == 3 * 7 and {type(layer) for layer in inside} == {LAYERS[quantize]}
    assert len(outside) == 3 * 6 + 2 + 1 and {type(layer) for layer in outside} == {torch.nn.Linear}
    assert {layer.weight.dtype for layer in outside} == {torch.bfloat16}
    loaded = pipe.memory().parameter_bytes
    answer = pipe.ask(noise(60, 60), "What is it?", max_new_tokens=4)
    assert answer.tokens and answer.heatmap(0).max() == 1
    # On some CPUs bitsandbytes packs the weights anew at the first use.
    assert 0.9 * loaded < answer.memory.parameter_bytes <= loaded


def test_unquantized_layers_are_plain(folder: Path) -> None:
    pipe = Pipeline.from_pretrained(folder)
    assert {type(m) for m in pipe.model.modules() if isinstance(m, torch.nn.Linear)} == {torch.nn.Linear}
    assert pipe.precision == "bf16"


def test_bytes_are_counted_as_stored(folder: Path) -> None:
    plain = Pipeline.from_pretrained(folder)
    weights = sum(
        m.weight.numel()
        for n, m in plain.model.named_modules()
        if isinstance(m, torch.nn.Linear) and "language_model" in n
    )
    rest = memory_of(plain.model).parameter_bytes - 2 * weights
    held = {q: memory_of(Pipeline.from_pretrained(folder, quantize=q).model).parameter_bytes - rest for q in LAYERS}
    # NF4: half a byte a weight and a float32 scale for 64 of them; int8: a byte, and a float32 scale a row.
    assert weights / 2 + 4 * weights / 64 <= held["4bit"] < 0.68 * weights
    assert weights < held["8bit"] < 1.1 * weights


def test_tied_weights_count_once_and_the_process_apart() -> None:
    tied = torch.nn.ModuleList([torch.nn.Linear(10, 20, bias=False), torch.nn.Linear(10, 20, bias=False)])
    tied[1].weight = tied[0].weight
    tied.register_buffer("table", torch.zeros(5, dtype=torch.int64))
    memory = memory_of(tied)
    assert memory.parameter_bytes == 10 * 20 * 4 + 5 * 8
    assert memory.process_bytes > 50_000_000


@pytest.mark.parametrize("package", ["bitsandbytes", "accelerate"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("vlm_demo.models.quantization.find_spec", lambda n: None if n == package else found(n))
    with pytest.raises(QuantizationUnavailable, match=package):
        config_for("4bit", ())
    assert config_for("none", ()) is None


def test_shapes_that_a_cpu_cannot_pack_are_refused_before_they_fail(tmp_path: Path) -> None:
    with pytest.raises(QuantizationUnavailable, match="32 × 32"):
        Pipeline.from_pretrained(tiny_llava(tmp_path, width=32), quantize="4bit", device="cpu")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(QuantizationUnavailable, match="none, 8bit, 4bit"):
        config_for("2bit", ())
