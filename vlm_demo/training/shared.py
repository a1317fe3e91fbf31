"""Shared: what the other families take over from a trained LLaVA, and how their recipes run.

All four bridges are compared on one encoder and one language model; here these are read from its checkpoint and frozen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from vlm_demo.models.quantization import fast_bf16
from vlm_demo.training import attention, objectives
from vlm_demo.training.data import Library, QuestionBatches
from vlm_demo.training.focus import Focus
from vlm_demo.training.packing import IGNORED, Packer
from vlm_demo.training.patches import IMAGE_SIZE, MEAN, STD
from vlm_demo.training.run import train_stage

Losses = dict[str, Tensor]


def load(start: Path) -> tuple[LlavaForConditionalGeneration, PreTrainedTokenizerFast]:
    """The exported LLaVA in float32 and its tokenizer."""
    model = LlavaForConditionalGeneration.from_pretrained(start, dtype=torch.float32)
    return model, PreTrainedTokenizerFast.from_pretrained(start)


def exported(folder: Path) -> dict[str, Tensor]:
    """The weights of an exported checkpoint in float32."""
    return {key: rows.float() for key, rows in load_file(folder / "model.safetensors").items()}


def remember(folder: Path, config: LlavaConfig, tokenizer: PreTrainedTokenizerFast) -> None:
    """Note in the run's folder what the parts taken over look like."""
    config.save_pretrained(folder / "start")
    tokenizer.save_pretrained(folder / "start")


def remembered(folder: Path) -> tuple[LlavaConfig, PreTrainedTokenizerFast]:
    """What `remember` noted."""
    return LlavaConfig.from_pretrained(folder / "start"), PreTrainedTokenizerFast.from_pretrained(folder / "start")


def word_vectors(model: LlavaForConditionalGeneration, words: int) -> Tensor:
    """The language model's input embeddings [words, d], as large as untrained ones, to begin a text encoder with: like
    words are alike from the first step. Tokens that the language model does not have get a random one."""
    known = model.get_input_embeddings().weight.detach()
    made = torch.randn(words, known.shape[1]) * 0.02
    made[: len(known)] = known / known.std() * 0.02
    return made


def ready(model: nn.Module, device: str) -> None:
    """Put the model on its device, with attention that is fast to train and hands out its weights to be supervised."""
    for part in model.modules():
        if isinstance(part, PreTrainedModel):
            part.set_attn_implementation({"": attention.register()})
    model.to(device)


def autocast(device: str) -> torch.autocast:
    """bf16 matrix products where the device has them; a processor that must imitate them is several times slower at
    them than in float32."""
    return torch.autocast(device, torch.bfloat16, enabled=fast_bf16(torch.device(device)))


def moved(batch: dict[str, Tensor], device: str) -> dict[str, Tensor]:
    """The batch on the device."""
    return {key: value.to(device, non_blocking=True) for key, value in batch.items()}


def groups(hidden: list[nn.Module], others: list[nn.Module | nn.Parameter], plain: float, muon: float) -> list[dict]:
    """Parameter groups with their peak learning rates: Muon's for the weights of linear layers in ``hidden``, AdamW's
    for all else in them and for ``others``; see `run.train_stage`."""
    inner = [part.weight for module in hidden for part in module.modules() if isinstance(part, nn.Linear)]
    known = {id(parameter) for parameter in inner}
    loose = [p for p in others if isinstance(p, nn.Parameter)]
    whole = [p for module in (*hidden, *others) if isinstance(module, nn.Module) for p in module.parameters()]
    outer = [parameter for parameter in (*whole, *loose) if id(parameter) not in known]
    return [{"params": outer, "lr": plain}, {"params": inner, "lr": muon, "muon": True}]


@dataclass
class Recipe:
    """Runs stages one after the other, each of which goes on where it stopped.

    Attributes:
        folder: holds their checkpoints, logs and results.
        minutes: of all stages together.
        shares: the part of it that each stage gets, by name; a stage that is not named is left out.
        done: what each stage did, by name.
        steps: of each stage, instead of minutes.
    """

    folder: Path
    minutes: float
    resume: bool
    shares: dict[str, float]
    done: dict[str, dict] = field(default_factory=dict)
    steps: int | None = None

    def stage(
        self,
        name: str,
        modules: dict[str, nn.Module],
        groups: list[dict],
        batches: Callable[[int], Iterable],
        loss_of: Callable[..., Losses],
    ) -> None:
        """Train the parameters of ``groups`` and nothing else of ``modules``; see `run.train_stage`."""
        finished = self.folder / f"{name}.json"
        if self.resume and finished.exists():
            state = torch.load(self.folder / f"{name}.pt", map_location="cpu", weights_only=True)
            for key, module in modules.items():
                module.load_state_dict(state[key])
            self.done[name] = json.loads(finished.read_text())
            return
        if name not in self.shares:
            return
        for module in modules.values():
            module.requires_grad_(False)
        for group in groups:
            for parameter in group["params"]:
                parameter.requires_grad_(True)
        minutes = self.minutes * self.shares[name] / sum(self.shares.values())
        result = train_stage(name, self.folder, modules, groups, batches, loss_of, minutes, self.resume, self.steps)
        trained = sum(parameter.numel() for group in groups for parameter in group["params"])
        self.done[name] = result | {"trainable": trained}
        finished.write_text(json.dumps(self.done[name], indent=1))


class BridgedQuestions(QuestionBatches):
    """`QuestionBatches` of pictures alone, packed for a bridge that gives the language model another number of image
    tokens than the encoder has patches."""

    def __init__(
        self, seed: int, start: int, tokenizer: PreTrainedTokenizerFast, library: Path, image_tokens: int
    ) -> None:
        super().__init__(seed, start, tokenizer, library, blind=False)
        self.image_tokens = image_tokens

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = torch.utils.data.get_worker_info()
        number = self.start + (worker.id if worker else 0)
        packer, text_packer = Packer(self.tokenizer, self.image_tokens), Packer(self.tokenizer, 0)
        library = Library(self.library)
        while True:
            yield self.batch(np.random.default_rng([self.seed, 3, number]), packer, text_packer, library)
            number += worker.num_workers if worker else 1


def answer_losses(hidden: Tensor, head: nn.Module, batch: dict[str, Tensor], focus: Focus | None = None) -> Losses:
    """The LM loss on the answers; logits only where a token is predicted, from hidden states [B, L, d].

    ``right`` is the share of answer tokens whose most likely token is the right one; ``focus`` learns of them.
    """
    asked = batch["labels"] != IGNORED
    logits, labels = head(hidden[asked]), batch["labels"][asked]
    answers = objectives.lm(logits, labels, batch["weights"][asked])
    right = logits.argmax(-1) == labels
    if focus is not None:
        focus.learn(right, batch["kinds"], batch["lengths"])
    return {
        "total": answers,
        "answers": answers,
        "right": right.float().mean(),
        "examples": torch.tensor(len(batch["ids"])),
    }


def save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, target: Path, more: dict[str, Tensor] | None = None
) -> None:
    """Write an ordinary transformers checkpoint in bf16: weights, and ``more`` beside them, tokenizer with its chat
    template, image processor."""
    save_weights(model, tokenizer, target, more)
    tokenizer.save_pretrained(target)
    image_processor().save_pretrained(target)


def save_weights(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, target: Path, more: dict[str, Tensor] | None = None
) -> None:
    """Write the weights in bf16, and ``more`` beside them, with the configs."""
    model = model.to(torch.bfloat16)
    model.set_attn_implementation("sdpa")
    state = model.state_dict() | {key: value.to(torch.bfloat16) for key, value in (more or {}).items()}
    if model.can_generate():
        model.generation_config = GenerationConfig(
            max_new_tokens=128,
            do_sample=False,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    model.save_pretrained(target, state_dict=state)


def image_processor() -> LlavaImageProcessorPil:
    """What makes the pixels that all families were trained on, as `patches.model_pixels` does."""
    return LlavaImageProcessorPil(
        do_pad=True,
        do_resize=True,
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_center_crop=False,
        resample=2,
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    )
