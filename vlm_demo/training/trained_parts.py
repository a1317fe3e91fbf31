"""Trained parts: a vision tower and a language model, with the projector and the LoRA that are trained in them.

The tower is frozen, but for the last stages where those are trained too; the language model's own weights are frozen.

Knows how they are composed and named, not how they are trained.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from vlm_demo.models.builders import towers
from vlm_demo.models.quantization import fast_bf16
from vlm_demo.training.branches import collate
from vlm_demo.training.lora import LoraLinear
from vlm_demo.training.mixture import Sample

ATTENTION = "grouped"


class Projector(nn.Module):
    """Patch features [..., channels] → image tokens [..., d_llm]: LLaVA's two layers."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(channels, width), nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear_2(nn.functional.gelu(self.linear_1(features)))

    def standardize(self, features: Tensor) -> None:
        """See ``standardize``, of the first layer."""
        standardize(self.linear_1, features)


@torch.no_grad()
def standardize(layer: nn.Linear, features: Tensor) -> None:
    """Fold the mean and the spread of these features [n, channels] into a layer, so that it begins as if every channel
    had mean 0 and spread 1."""
    mean, spread = features.float().mean(0), features.float().std(0) + 1e-3
    layer.weight /= spread
    layer.bias -= layer.weight @ mean


def last_stages(tower: nn.Module, stages: int) -> list[str]:
    """The names of the weights in the last stages of an EfficientNet-Lite, and in the convolution after them."""
    model: Any = tower.model
    first = max(0, len(model.stages) - stages)
    modules = {f"stages.{i}": stage for i, stage in enumerate(model.stages) if i >= first} | {"head": model.head}
    return [f"{prefix}.{name}" for prefix, module in modules.items() for name, _ in module.named_parameters()]


def fast_dtype() -> torch.dtype:
    """bf16 where the processor has instructions for it, else float32."""
    return torch.bfloat16 if fast_bf16(torch.device("cpu")) else torch.float32


def register_attention() -> None:
    """Attention written out for training on a CPU with grouped keys and an additive mask: its backward pass is three
    times as fast as SDPA's at these lengths."""

    def attend(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **_unused):
        batch, heads, length, width = query.shape
        groups = key.shape[1]
        rows = (query * scaling).reshape(batch, groups, heads // groups * length, width)
        scores = (rows @ key.transpose(2, 3)).view(batch, groups, heads // groups, length, length).float()
        weights = (
            (scores + attention_mask[:, :, None])
            .softmax(-1)
            .to(value.dtype)
            .view(batch, groups, heads // groups * length, length)
        )
        return (weights @ value).view(batch, heads, length, width).transpose(1, 2).contiguous(), None

    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)


class Trainable(Protocol):
    """What ``Trainer`` needs of what it trains; ``Parts``, and those of the other families.

    Attributes:
        llm: the language model, with ``model`` and ``lm_head``.
        projector: patch features → image tokens, or another module that ``align`` can train.
        lora: what is trained in the language model itself, or nothing.
        aligned: whether the projector's weights come from an earlier run, so that it needs no alignment.
        trained_tower: see ``Parts``.
    """

    llm: Any
    tokenizer: Any
    projector: Any
    lora: dict[str, LoraLinear]
    aligned: bool
    trained_tower: dict[str, nn.Parameter]

    def trained(self) -> dict[str, nn.Parameter]:
        """All trained tensors by the names that ``trained.safetensors`` has."""

    def features(self, pixels: Sequence[np.ndarray]) -> Tensor:
        """uint8 pictures [side, side, 3] → patch features [B, N, channels]."""


@dataclass
class Parts:
    """The parts of a model in training.

    Attributes:
        tower: a ``pretrained.VisionTower``.
        trained_tower: its weights that are trained, float32, by their names in its model; all others are frozen.
    """

    tower: nn.Module
    llm: LlamaForCausalLM
    tokenizer: Any
    projector: Projector
    lora: dict[str, LoraLinear]
    aligned: bool = False
    trained_tower: dict[str, nn.Parameter] = field(default_factory=dict)

    def train_tower(self, names: Collection[str]) -> None:
        """Train these weights of the tower's model too."""
        weights = dict(self.tower.model.named_parameters()) if names else {}
        for name in names:
            weights[name].data = weights[name].data.float()
            self.trained_tower[name] = weights[name].requires_grad_(True)

    def trained(self) -> dict[str, nn.Parameter]:
        """All trained tensors by the names that ``trained.safetensors`` has."""
        named = {f"projector.{name}": value for name, value in self.projector.named_parameters()}
        for name, layer in self.lora.items():
            named[f"lora.layers.{name}.A"], named[f"lora.layers.{name}.B"] = layer.A, layer.B
        return named | {f"{towers.PREFIX}{name}": weight for name, weight in self.trained_tower.items()}

    def features(self, pixels: Sequence[np.ndarray]) -> Tensor:
        """uint8 pictures [side, side, 3] → patch features [B, N, channels]."""
        stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        dtype, trained = self.llm.lm_head.weight.dtype, bool(self.trained_tower)
        with (
            torch.set_grad_enabled(trained and torch.is_grad_enabled()),
            torch.autocast("cpu", dtype, enabled=trained and dtype == torch.bfloat16),
        ):
            return self.tower(stacked.float() / 127.5 - 1).last_hidden_state


def load_trained(parts: Trainable, tensors: dict[str, Tensor]) -> None:
    """Take over trained tensors by name; those that are missing stay as they are."""
    with torch.no_grad():
        for name, value in parts.trained().items():
            if name in tensors:
                value.copy_(tensors[name].float())


def projected(parts: Trainable, pixels: Sequence[np.ndarray]) -> Tensor:
    """uint8 pictures [side, side, 3] → image tokens [B, N, d], in the language model's own precision."""
    features, dtype = parts.features(pixels), parts.llm.lm_head.weight.dtype
    with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
        return parts.projector(features).to(dtype)


def logits_of(parts: Trainable, samples: Sequence[Sample], pad: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The logits [n, vocabulary] of every predicted token of a batch, and the batch, with its ``image_tokens``
    [B, N, d]."""
    batch = collate([sample.packed for sample in samples], pad)
    image_id = parts.tokenizer.convert_tokens_to_ids("<image>")
    tokens = projected(parts, [sample.pixels for sample in samples])
    embeddings = parts.llm.model.embed_tokens(batch["ids"])
    embeddings = embeddings.masked_scatter((batch["ids"] == image_id)[..., None], tokens)
    hidden = parts.llm.model(
        inputs_embeds=embeddings, attention_mask=batch["mask"], position_ids=batch["positions"], use_cache=False
    ).last_hidden_state
    row, position = batch["at"].T
    return parts.llm.lm_head(hidden[row, position]).float(), batch | {"image_tokens": tokens}


def compile_layers(parts: Trainable) -> None:
    """Compile each decoder layer, which takes half a minute: a quarter faster."""
    import torch._dynamo

    torch._dynamo.config.cache_size_limit = 64
    for layer in parts.llm.model.layers:
        layer.compile(dynamic=True)


def right_turns(samples: Sequence[Sample], logits: Tensor, batch: dict[str, Tensor]) -> Iterator[tuple[str, bool]]:
    """Whether each answer of a batch is right token for token (teacher forcing): once under its kind, and once under
    its folder, where it is no caption."""
    hits = (logits.argmax(1) == batch["targets"]).tolist()
    turns: dict[tuple[int, int], list[bool]] = defaultdict(list)
    for (row, turn), hit in zip(torch.stack([batch["at"][:, 0], batch["turn"]], 1).tolist(), hits, strict=True):
        turns[row, turn].append(hit)
    for (row, turn), turn_hits in turns.items():
        kind = samples[row].packed.kinds[turn]
        yield kind, all(turn_hits)
        if kind != "caption":
            yield f"folder {samples[row].folder}", all(turn_hits)
