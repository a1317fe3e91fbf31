"""A processor without bf16 instructions gets float32, which is ten times faster there, as long as it fits."""

from pathlib import Path

import pytest
import torch

from tests.kit.tiny import tiny_llava
from vlm_demo import Pipeline
from vlm_demo.models import quantization


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("stored"), dtype=torch.bfloat16)


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch, fast: bool, room: int | None = None) -> Pipeline:
    capabilities = {"avx2": True, "avx512_bf16": fast, "amx_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    if room is not None:
        monkeypatch.setattr(quantization, "room_on", lambda _device: room)
    return Pipeline.from_pretrained(folder)


def test_bf16_stays_where_the_processor_has_instructions_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = loaded(folder, monkeypatch, fast=True)
    assert pipe.precision == "bf16" and pipe.model.dtype == torch.bfloat16


def test_it_is_computed_in_float32_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch, noise) -> None:
    stored = loaded(folder, monkeypatch, fast=True)
    pipe = loaded(folder, monkeypatch, fast=False)
    assert pipe.precision == "fp32" and {part.dtype for part in pipe.model.parameters()} == {torch.float32}
    pairs = zip(pipe.model.parameters(), stored.model.parameters(), strict=True)
    assert all(torch.equal(one, other.float()) for one, other in pairs)
    assert pipe.ask(noise(50, 50), "What is it?", max_new_tokens=3).tokens


def test_unless_that_does_not_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (folder / "model.safetensors").stat().st_size
    assert loaded(folder, monkeypatch, fast=False, room=int(1.5 * size)).precision == "bf16"
    assert loaded(folder, monkeypatch, fast=False, room=int(2.5 * size)).precision == "fp32"


def test_what_is_stored_wide_or_quantized_is_left_alone(folder: Path, tmp_path: Path, monkeypatch) -> None:
    assert loaded(tiny_llava(tmp_path, dtype=torch.float16), monkeypatch, fast=False).precision == "fp16"
    monkeypatch.setattr(quantization, "fast_bf16", lambda _device: False)
    packed = Pipeline.from_pretrained(folder, quantize="8bit")
    assert packed.precision == "8bit" and packed.model.model.vision_tower.dtype == torch.bfloat16


def test_other_devices_are_never_imitating(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert quantization.fast_bf16(torch.device("cuda")) and not quantization.fast_bf16(torch.device("cpu"))
