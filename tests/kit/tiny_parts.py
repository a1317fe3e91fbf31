"""Tiny parts to train: a random Llama of two layers with its tokenizer, a random vision tower of a few channels; and
folders of annotated pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import LlamaForCausalLM

from tests.kit import gguf_file
from vlm_demo.models import smollm2
from vlm_demo.models.builders.towers import Tower
from vlm_demo.models.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel
from vlm_demo.models.pretrained import VisionTower
from vlm_demo.training import finetune
from vlm_demo.training.trained_parts import Parts

SIDE, TOKENS = 64, 4
COLOURS = ("red", "green", "blue", "white")
STAGES = ((1, 3, 1, 1, 8), (1, 3, 2, 2, 8), (1, 3, 2, 2, 8), (1, 3, 2, 2, 8), (1, 3, 1, 2, 8), (1, 3, 2, 2, 8))


def tower(seed: int = 0) -> EfficientNetLiteModel:
    """A tower of 48 channels with weights large enough that pictures differ."""
    torch.manual_seed(seed)
    model = EfficientNetLiteModel(EfficientNetLiteConfig(stages=STAGES, stem=8, head=16, image_size=SIDE)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * (0.4 if weight.dim() > 1 else 0.1))
    return model


def trainable_tower() -> VisionTower:
    """The same as training reads the embedded models' towers."""
    model = tower()
    return VisionTower(Tower(model.config, model.state_dict(), (0.5,) * 3, (0.5,) * 3, 0))


def language(folder: Path) -> smollm2.LanguageModel:
    """Configuration, weights and tokenizer of the random Llama."""
    gguf_file.write(folder / "words.gguf")
    return smollm2.read(folder / "words.gguf")


def compose(
    read: smollm2.LanguageModel, seed: int = 0, init: Path | None = None, vision_tower: nn.Module | None = None
) -> Parts:
    """Both, ready to be trained; the LoRA updates are not zero, or those of ``init``."""
    model = LlamaForCausalLM(read.config)
    model.load_state_dict({"lm_head.weight": read.weights["model.embed_tokens.weight"], **read.weights})
    torch.manual_seed(seed)
    parts = finetune.compose(vision_tower or tower(), model, read.tokenizer, init)
    if init is not None:
        return parts
    with torch.no_grad():
        for layer in parts.lora.values():
            layer.B.copy_(torch.randn_like(layer.B) * 0.05)
    return parts


def write_folder(folder: Path, items: Sequence[dict[str, Any]], size: tuple[int, int] = (90, 60)) -> Path:
    """A folder of annotated pictures; each item gets another picture, a coarse pattern drawn from its number."""
    (folder / "img").mkdir(parents=True, exist_ok=True)
    lines = []
    for number, item in enumerate(items):
        coarse = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / f"img/{number:05}.png")
        lines.append(json.dumps({"image": f"img/{number:05}.png", **item}))
    (folder / "annotations.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_photographs(root: Path, count: int) -> Path:
    """``root/flickr8k``: pictures of one colour each, which their two captions name."""
    folder = root / "flickr8k"
    items = [
        {"captions": [f"a {colour} picture of a {colour} circle", f"The picture is {colour}."]}
        for colour in (COLOURS[i % len(COLOURS)] for i in range(count))
    ]
    write_folder(folder, items)
    for i in range(count):
        Image.new("RGB", (60 + i, 50), COLOURS[i % len(COLOURS)]).save(folder / f"img/{i:05}.png")
    return root
