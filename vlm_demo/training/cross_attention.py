"""Cross-attention training: gated layers in a frozen language model learn to look at a frozen vision tower's features.

Flamingo (Alayrac et al. 2022, https://arxiv.org/abs/2204.14198) as transformers' Idefics has it. First the feature head
is aligned with words (``alignment``), then head and gated layers are trained with the language model's loss on
conversations. The picture is no part of the token sequence: the text holds one placeholder for it.

``compose`` and ``run`` train.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from vlm_demo.models import smollm2
from vlm_demo.models.builders import idefics
from vlm_demo.models.efficientnet_bridges import EfficientNetIdeficsForVisionText2Text, FeatureHead
from vlm_demo.training import bridge_training, finetune
from vlm_demo.training.branches import collate
from vlm_demo.training.data_parallel import init_peers
from vlm_demo.training.finetune import Trainer
from vlm_demo.training.mixture import Mixture, Sample
from vlm_demo.training.record import Spent
from vlm_demo.training.trained_parts import Parts, compile_layers, fast_dtype, load_trained

CROSSINGS, INNER = 6, 512  # 14.4 million weights with the feature head, 29 MB in bf16
IMAGE_TOKENS = 1  # in the text, for its packer
FIRST_GATE = (
    0.1  # of tanh(alpha): small enough to change no word, and not 0, where the gated layers would get no gradient
)
GATES_RATE = 2.5  # times the learning rate of matrices
ATTENTION = "written_out"


def register_attention() -> None:
    """Attention written out, of words and of patches: on a CPU its backward pass is faster than SDPA's at these
    lengths."""

    def attend(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **_unused):
        query, key = query.to(value.dtype), key.to(value.dtype)  # their norms leave them in float32
        scores = (query @ key.transpose(2, 3)).float() * scaling
        if attention_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attention_mask, -1e30)
        else:
            scores = scores + attention_mask
        return (scores.softmax(-1).to(value.dtype) @ value).transpose(1, 2).contiguous(), None

    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)


class AlignedHead(nn.Module):
    """The feature head with one more layer, whose output alignment brings near word embeddings. The gated layers'
    values begin as this layer; then it is dropped, since their keys need features that distinguish words."""

    def __init__(self, head: FeatureHead, width: int) -> None:
        super().__init__()
        self.head, self.linear_2 = head, nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear_2(self.head(features))

    def standardize(self, features: Tensor) -> None:
        self.head.standardize(features)


class CrossAttentionParts(Parts):
    """The parts of a model in training. ``llm`` is the Idefics, without its vision module; ``projector`` is an
    ``AlignedHead``."""

    projector: Any

    def trained(self) -> dict[str, nn.Parameter]:
        head = self.projector.head.named_parameters()
        gated = self.llm.model.gated_cross_attn_layers.named_parameters()
        named = {f"model.vision_model.feature_head.{name}": value for name, value in head}
        return named | {f"model.gated_cross_attn_layers.{name}": value for name, value in gated}


def compose(
    tower: nn.Module,
    llm: Any,
    tokenizer: Any,
    init: Path | None = None,
    crossings: int = CROSSINGS,
    inner: int = INNER,
) -> CrossAttentionParts:
    """Freeze tower and language model, and put new gated cross-attention layers into the latter.

    Args:
        tower: of EfficientNet-Lite, see ``pretrained.VisionTower``; its config's ``image_size`` is that of the mixture.
        llm: ``LlamaForCausalLM``; its weights are copied.
        init: a ``trained.safetensors`` to begin with.
        crossings: how many of these layers, evenly spread.
        inner: width of their feed-forward halves.
    """
    dtype = fast_dtype()
    register_attention()
    language = smollm2.LanguageModel(llm.config, llm.state_dict(), tokenizer)
    config = idefics.config_of(language, tower.config.image_size, crossings, inner)
    model = EfficientNetIdeficsForVisionText2Text(config)
    model.model.vision_model = None  # features are given to it
    unexpected = model.load_state_dict(idefics.repeated(language), strict=False).unexpected_keys
    if unexpected:
        raise ValueError(f"Idefics has no {', '.join(unexpected)}")
    model = bridge_training.frozen(model, dtype)
    model.set_attn_implementation(ATTENTION)
    gated = model.model.gated_cross_attn_layers.float().requires_grad_(True)
    with torch.no_grad():
        for layer in gated:
            layer.alpha_cross_attn.fill_(FIRST_GATE)
            layer.alpha_dense.fill_(FIRST_GATE)
    vision = config.vision_config
    head = AlignedHead(FeatureHead(vision.channels, vision.hidden_size, vision.positions), config.hidden_size)
    tower = bridge_training.frozen(tower, dtype).to(memory_format=torch.channels_last)
    parts = CrossAttentionParts(tower, model, tokenizer, head, {})
    if init is not None:
        load_trained(parts, load_file(init))
        parts.aligned = True
    return parts


class CrossAttentionTrainer(Trainer):
    """A run in a folder, as ``Trainer`` has it."""

    rehearses = False  # the layer through which features are aligned is dropped
    rate_scale = 0.5  # whole matrices are trained, not LoRA

    def align(self, epochs: int) -> None:
        super().align(epochs)
        self.start_from_words([self.data.sample(self.seed, number) for number in range(4)])
        self.save()

    @torch.no_grad()
    def start_from_words(self, samples: Sequence[Sample]) -> None:
        """Let each gated layer begin by adding what alignment found in the picture: the mean of its patches' words, as
        large as the text's hidden states of these samples are at that layer, times the gate. From random values the
        gated layers take thousands of pictures until they look at one at all."""
        features = self.parts.features([sample.pixels for sample in samples]).float()
        words = self.parts.projector.head(features) @ self.parts.projector.linear_2.weight.T
        sizes: list[Tensor] = []
        layers = self.parts.llm.model.gated_cross_attn_layers
        hooks = [layer.register_forward_pre_hook(lambda _, given: sizes.append(_size(given[0]))) for layer in layers]
        self.logits(samples)
        for hook in hooks:
            hook.remove()
        for layer, size in zip(layers, sizes, strict=True):
            layer.cross_attn.v_proj.weight.copy_(self.parts.projector.linear_2.weight / _size(words))
            layer.cross_attn.o_proj.weight.copy_(torch.eye(words.shape[-1]) * size)

    def _groups(self) -> list[dict[str, Any]]:
        return bridge_training.groups(self.parts.trained().values(), GATES_RATE)

    def logits(self, samples: Sequence[Sample]) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits [n, vocabulary] of every predicted token of a batch, and the batch; all tokens see the picture."""
        batch = collate([sample.packed for sample in samples], self.pad)
        features, model = self.parts.features([sample.pixels for sample in samples]), self.parts.llm
        dtype = model.lm_head.weight.dtype
        with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            hidden = model.model(
                input_ids=batch["ids"],
                attention_mask=batch["mask"],
                position_ids=batch["positions"],
                image_encoder_embeddings=self.parts.projector.head(features)[:, None],  # [B, pictures, N, d]
                image_attention_mask=torch.ones(*batch["ids"].shape, 1, dtype=torch.long),
                use_cache=False,
            ).last_hidden_state
            row, position = batch["at"].T
            return model.lm_head(hidden[row, position]).float(), batch


def _size(vectors: Tensor) -> Tensor:
    """The median root mean square of vectors [..., d]; a text's first token is far larger than the others."""
    return vectors.float().square().mean(-1).sqrt().median()


def run(
    parts: CrossAttentionParts,
    data: Mixture,
    held: Mixture,
    folder: Path,
    minutes: float,
    align_pictures: int = 9000,
    align_epochs: int = 2,
    resume: bool = False,
    compiled: bool = True,
    log: Callable[[str], None] = print,
    seed: int = 0,
) -> None:
    """Alignment and training; with ``resume``, or from an earlier run's weights, training alone.

    Args:
        parts: see ``compose``.
        data, held: mixtures whose packer writes one image token.
        folder: gets ``checkpoint.pt`` and ``log.jsonl``.
        minutes: of the language model's loss.
        compiled: whether to compile the language model's own layers, which takes a minute and saves a fifth.
    """
    trainer = CrossAttentionTrainer(parts, data, held, folder, seed, init_peers())
    if not (resume and trainer.resume()) and not parts.aligned:
        log(f"Aligning the features with words of {align_pictures} pictures")
        trainer.gather(align_pictures)
        trainer.align(align_epochs)
    if compiled:
        compile_layers(parts)
    log(f"The language model's loss, for {minutes} minutes")
    trainer.train(minutes, 2)


def spent(folder: Path) -> Spent:
    """See ``finetune.spent``."""
    return finetune.spent(folder)


def image_tokens(_config: Any) -> int:
    """How many tokens stand for the picture in the text: one, for any tower."""
    return IMAGE_TOKENS
