"""An embedded model in small: pretrained parts in installed packages, a recipe, and random trained weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.kit import gguf_file, minilm_files, onnx_files
from vlm_demo.models import parts
from vlm_demo.models.builders import RECIPE
from vlm_demo.models.efficientnet_lite import LITE2, EfficientNetLiteConfig

LANGUAGE, TOWER = "smollm2-135m-instruct", "efficientnet-lite2"
VIT, TEXT = "dinov2-vit-s-focus", "all-minilm-l6-v2"
TRAINED = "trained.safetensors"
WIDTH, KEYS, INNER, LAYERS = 64, 32, 96, 2  # of the Llama in ``gguf_file``
RANK, SEEN = 2, 1808  # of the LoRA; the tower's channels
SHAPES = {
    "self_attn.q_proj": (WIDTH, WIDTH),
    "self_attn.k_proj": (KEYS, WIDTH),
    "self_attn.v_proj": (KEYS, WIDTH),
    "self_attn.o_proj": (WIDTH, WIDTH),
    "mlp.gate_proj": (INNER, WIDTH),
    "mlp.up_proj": (INNER, WIDTH),
    "mlp.down_proj": (WIDTH, INNER),
}


def silent(_fraction: float | None, _text: str) -> None:
    """Hears of the progress and says nothing."""


def published(seed: int = 0) -> dict[str, Tensor]:
    """A state dict with random numbers under the names of the published EfficientNet-Lite2."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def conv(name: str, norm: str, outputs: int, inputs: int, kernel: int) -> None:
        spread = (2 / (inputs * kernel * kernel)) ** 0.5
        state[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=generator) * spread
        state[f"{norm}.weight"] = torch.rand(outputs, generator=generator) + 0.5
        state[f"{norm}.bias"] = torch.randn(outputs, generator=generator) * 0.1
        state[f"{norm}.running_mean"] = torch.randn(outputs, generator=generator) * 0.1
        state[f"{norm}.running_var"] = torch.rand(outputs, generator=generator) + 0.5

    config = EfficientNetLiteConfig()
    conv("_conv_stem", "_bn0", config.stem, 3, 3)
    channels, number = config.stem, 0
    for blocks, kernel, _, expansion, outputs in LITE2:
        for _ in range(blocks):
            block, middle = f"_blocks.{number}", channels * expansion
            if expansion != 1:
                conv(f"{block}._expand_conv", f"{block}._bn0", middle, channels, 1)
            conv(f"{block}._depthwise_conv", f"{block}._bn1", middle, 1, kernel)
            conv(f"{block}._project_conv", f"{block}._bn2", outputs, middle, 1)
            channels, number = outputs, number + 1
    conv("_conv_head", "_bn1", config.head, channels, 1)
    return state


# A pretrained part → its package, its file in there, and what writes that.
PACKAGES: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    LANGUAGE: ("tiny_words", "words.gguf", gguf_file.write),
    TOWER: ("tiny_sight", "models/sight.pth", lambda path: torch.save(published(), path)),
    VIT: ("tiny_vit", "models/vit.onnx", onnx_files.write),
    TEXT: ("tiny_text", "model.zip", minilm_files.write),
}


def install(site: Path, monkeypatch: pytest.MonkeyPatch, names: Sequence[str] = (LANGUAGE, TOWER)) -> dict[str, Path]:
    """Put tiny parts into packages on the import path that must not be imported; returns their weight files. Those that
    lie in ``site`` already are taken as they are."""
    files = {}
    for name in names:
        package, file, write = PACKAGES[name]
        path = site / package / file
        if not path.exists():
            path.parent.mkdir(parents=True)
            (site / package / "__init__.py").write_text("raise SystemExit('imported')")
            write(path)
        part = parts.PARTS[name]
        installed = replace(
            part, package=package, file=file, sha256=parts.sha256(path), bytes=path.stat().st_size, stored=10**6
        )
        monkeypatch.setitem(parts.PARTS, name, installed)
        files[name] = path
    monkeypatch.syspath_prepend(str(site))
    return files


def trained(seed: int = 0, refit: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Projector and LoRA of small random numbers, and of the tower the tensors ``refit``."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.2

    tensors = {
        "projector.linear_1.weight": random(WIDTH, SEEN) * 0.2,
        "projector.linear_1.bias": random(WIDTH),
        "projector.linear_2.weight": random(WIDTH, WIDTH),
        "projector.linear_2.bias": random(WIDTH),
    }
    for i in range(LAYERS):
        for path, (outputs, inputs) in SHAPES.items():
            tensors[f"lora.layers.{i}.{path}.A"] = random(RANK, inputs)
            tensors[f"lora.layers.{i}.{path}.B"] = random(outputs, RANK)
    sizes = {"head.bias": (1280,), "stages.6.0.project.bias": (352,)}
    return tensors | {f"tower.{name}": random(*sizes[name]) for name in refit}


def ship(folder: Path, tensors: dict[str, Tensor] | None = None, **recipe: object) -> Path:
    """Write the shipped files of an embedded model."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"family": "llava", "language_model": LANGUAGE, "vision_tower": TOWER, "image_size": 288}
    (folder / RECIPE).write_text(json.dumps(settings | {"lora_alpha": 32} | recipe))
    save_file(tensors if tensors is not None else trained(), folder / TRAINED)
    (folder / "README.md").write_text("# A card\n")
    return folder
