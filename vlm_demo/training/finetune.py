"""Fine-tuning: a projector, and LoRA in the language model, trained behind a vision tower.

Stage 0 aligns the projector with word embeddings (``alignment``), stage 1 trains the projector through the frozen
language model, stage 2 projector and LoRA, and where it is asked for the tower's last stages. The tower runs in the
loop; nothing is cached, so pictures can be flipped and cropped. A checkpoint holds all that is trained, the optimizer
and the number of the next sample: a run goes on where it stopped. Frozen weights are bf16 where the processor computes
it fast, float32 elsewhere.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from vlm_demo.models.builders import towers
from vlm_demo.training import sample_batches
from vlm_demo.training.aligned_pictures import (
    BOX_WEIGHT,
    REHEARSAL_WEIGHT,
    AlignedPictures,
    BatchWords,
    Classifier,
    box_loss,
    gather,
    imagenet_classifier,
)
from vlm_demo.training.alignment import Vocabulary, align
from vlm_demo.training.branches import BranchPacker
from vlm_demo.training.bridge_training import frozen
from vlm_demo.training.data_parallel import Peers, init_peers
from vlm_demo.training.lora import add_lora
from vlm_demo.training.mixture import LABEL_SHARES, Mixture, Sample
from vlm_demo.training.record import CHECKPOINT, LOG, Spent
from vlm_demo.training.self_critical import SelfCritical
from vlm_demo.training.trained_parts import (
    ATTENTION,
    Parts,
    Projector,
    Trainable,
    compile_layers,
    fast_dtype,
    last_stages,
    load_trained,
    logits_of,
    projected,
    register_attention,
    right_turns,
)

RATE, WARM_UP, COOL_DOWN = 8e-4, 40, 0.3  # steps; the last share of a run's time in which the rate falls to a 20th
PROJECTOR_SCALE, TOWER_SCALE = 1.25, 0.08  # of their learning rates, over LoRA's
LABEL_RATE = 0.6  # of the learning rate in the stage of labels
AVERAGE = 0.995  # of the running mean of the weights, a step


def compose(tower: nn.Module, llm: LlamaForCausalLM, tokenizer: Any, init: Path | None = None) -> Parts:
    """Freeze the parts, add LoRA, and take over trained weights from ``init`` (a ``trained.safetensors``).

    Of weights that were trained behind another vision tower, whose patch features have other channels, the LoRA alone
    is taken over, and the projector has to be aligned. Where they hold a trained tower, it is trained on.

    Args:
        tower: pixels float32 [B, 3, side, side] over −1..1 → ``last_hidden_state`` [B, patches, channels]; has
            ``config.hidden_size`` channels. See ``pretrained.VisionTower``.
    """
    dtype = fast_dtype()
    tower = frozen(tower, dtype).to(memory_format=torch.channels_last)
    llm = frozen(llm, dtype)
    register_attention()
    llm.set_attn_implementation(ATTENTION)
    projector = Projector(tower.config.hidden_size, llm.config.hidden_size)
    parts = Parts(tower, llm, tokenizer, projector, add_lora(llm.model.layers))
    if init is not None:
        tensors = load_file(init)
        parts.train_tower([name.removeprefix(towers.PREFIX) for name in tensors if name.startswith(towers.PREFIX)])
        weight = tensors.get("projector.linear_1.weight")
        parts.aligned = weight is not None and weight.shape == projector.linear_1.weight.shape
        if not parts.aligned:
            tensors = {name: value for name, value in tensors.items() if not name.startswith("projector.")}
        load_trained(parts, tensors)
    return parts


class Trainer:
    """A run in a folder: ``checkpoint.pt`` and ``log.jsonl``.

    Args:
        peers: the processes that train together; the batches of each pool are shared out among them.

    Attributes:
        rehearses: whether the alignment's loss is added to the language model's.
        rate_scale: of RATE.
    """

    rehearses, rate_scale = True, 1.0

    def __init__(
        self, parts: Trainable, data: Mixture, held: Mixture, folder: Path, seed: int = 0, peers: Peers | None = None
    ) -> None:
        self.parts, self.data, self.held, self.folder, self.seed = parts, data, held, folder, seed
        self.peers = peers or Peers()
        self.pad = parts.tokenizer.convert_tokens_to_ids("<|endoftext|>")
        self.next_sample = self.step = 0
        self.seconds = 0.0
        self.average: dict[str, Tensor] = {}
        self.rehearsal: AlignedPictures | None = None
        self.batch_words: BatchWords | None = None
        self.optimizer = torch.optim.AdamW(self._groups(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
        folder.mkdir(parents=True, exist_ok=True)

    def _groups(self) -> list[dict[str, Any]]:
        """The optimizer's parameter groups; ``scale`` in one multiplies its learning rate."""
        projector = list(self.parts.projector.parameters())
        groups: list[dict[str, Any]] = [
            {"params": projector, "scale": PROJECTOR_SCALE},
            {"params": self._lora_parameters()},
        ]
        tower = self._tower_parameters()
        return [*groups, {"params": tower, "scale": TOWER_SCALE}] if tower else groups

    def logits(self, samples: Sequence[Sample]) -> tuple[Tensor, dict[str, Tensor]]:
        """See ``logits_of``."""
        return logits_of(self.parts, samples, self.pad)

    def image_tokens(self, pixels: Sequence[np.ndarray]) -> Tensor:
        """See ``projected``."""
        return projected(self.parts, pixels)

    def _lora_parameters(self) -> list[nn.Parameter]:
        return [weight for layer in self.parts.lora.values() for weight in (layer.A, layer.B)]

    def _tower_parameters(self) -> list[nn.Parameter]:
        return list(self.parts.trained_tower.values())

    # -- stages -------------------------------------------------------------------------------------------------

    def gather(self, pictures: int, classifier: Classifier | None = None) -> None:
        """Compute the features that stage 0 is trained on and the later stages rehearse."""
        if not self.peers.is_main:  # the main process computes the features that all read
            self.peers.barrier()
        self.rehearsal = gather(
            self.data,
            pictures,
            self.seed,
            self.folder / "aligned.features",
            self.parts.features,
            self._vocabulary,
            classifier,
        )
        if self.peers.is_main:
            self.peers.barrier()

    def _vocabulary(self, word_sets: Sequence[set[str]]) -> Vocabulary:
        embeddings = self.parts.llm.get_input_embeddings().weight.detach()
        return Vocabulary(word_sets, embeddings, BranchPacker(self.parts.tokenizer, 0).encode)

    def rehearse_batches(self) -> None:
        """From here on the alignment's loss is that of each step's own pictures."""
        self.rehearsal, self.batch_words = None, BatchWords(self.data, self._vocabulary)

    def align(self, epochs: int) -> None:
        """Stage 0, on the gathered pictures."""
        if self.rehearsal is None:
            raise RuntimeError("gather pictures before their alignment")
        rows, vocabulary = self.rehearsal.features, self.rehearsal.vocabulary
        self.log({"stage": 0, "pictures": len(rows), "words": len(vocabulary.words)})
        self.parts.projector.standardize(rows[:500].flatten(0, 1))
        align(
            self.parts.projector,
            rows,
            self.rehearsal.targets,
            vocabulary,
            epochs,
            lambda text: self.log({"stage": 0, "text": text}),
        )
        self.save()

    def train(self, minutes: float, stage: int, measure_every: float = 24.0, steps: int = 0) -> None:
        """Stage 1 (projector alone) or 2 (all that is trained) for so many minutes, or else so many steps."""
        for weight in (*self._lora_parameters(), *self._tower_parameters()):
            weight.requires_grad_(stage == 2)
        first_step, seconds_before = self.step, self.seconds
        started, measured_at, saved_at = time.perf_counter(), 0.0, 0.0
        recent: dict[str, list[float]] = defaultdict(list)
        warm_up = min(WARM_UP, steps / 5) if steps else WARM_UP
        for samples in self.batches():
            spent = self.peers.broadcast((time.perf_counter() - started) / 60)
            self.seconds = seconds_before + 60 * spent
            if spent >= minutes if not steps else self.step - first_step >= steps:
                break
            done = (self.step - first_step) / steps if steps else spent / minutes
            rate = RATE * self.rate_scale * min(1.0, (self.step - first_step + 1) / warm_up)
            remaining = (1 - done) / COOL_DOWN
            rate *= max(0.05, min(1.0, remaining)) if stage == 2 else 1.0
            self.set_rate(rate)
            self.learn(samples, recent)
            if self.step % 20 == 0:
                tokens = sum(len(sample.packed) for sample in samples)
                self.log({"stage": stage, "step": self.step, "samples": self.next_sample, "minutes": round(spent, 1),
                           "tokens": tokens, "loss": self.means(recent)})  # fmt: skip
                recent.clear()
            if spent - saved_at > 4:
                saved_at = spent
                self.save()
            if spent - measured_at > measure_every:
                measured_at = spent
                self.measure()
        self.save()
        self.measure()

    @staticmethod
    def means(recent: dict[str, list[float]]) -> dict[str, float]:
        """The mean loss of each kind of answer, for the log."""
        return {kind: round(float(np.mean(values)), 3) for kind, values in sorted(recent.items())}

    def set_rate(self, rate: float) -> None:
        """Set LoRA's learning rate; those of other groups are scaled in proportion."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)

    def batches(self) -> Iterator[list[Sample]]:
        """Batches of this process, without end; see ``sample_batches.batches_of_pool``."""
        while True:
            yield from sample_batches.batches_of_pool(self.data, self.seed, self.next_sample, self.peers)
            self.next_sample += sample_batches.POOL * self.peers.world_size

    def learn(
        self, samples: list[Sample], recent: dict[str, list[float]], added: Callable[[], Tensor] | None = None
    ) -> None:
        """One optimizer step on the loss of these samples plus that of ``added``; the loss of each kind of answer is
        appended to ``recent``."""
        self.optimizer.zero_grad()
        if added is not None:  # first, so that its activations are freed before the others are computed
            added().backward()
        logits, batch = self.logits(samples)
        token_losses = nn.functional.cross_entropy(logits, batch["targets"], reduction="none")
        loss = (token_losses * batch["weights"]).sum() / batch["weights"].sum().clamp_min(1e-6)
        total_loss, rehearsed = loss, self._rehearsed(samples, batch)
        if rehearsed is not None:
            recent["words"].append(rehearsed.item())
            total_loss = loss + REHEARSAL_WEIGHT * rehearsed
        total_loss.backward()
        weights = [value for value in self.parts.trained().values() if value.requires_grad]
        self.peers.average_gradients(weights)
        nn.utils.clip_grad_norm_(weights, 1.0)
        self.optimizer.step()
        self.step += 1
        recent["all"].append(loss.item())
        for (row, turn), value in zip(
            torch.stack([batch["at"][:, 0], batch["turn"]], 1).tolist(), token_losses.tolist(), strict=True
        ):
            recent[samples[row].packed.kinds[turn].split("-")[0]].append(value)
        with torch.no_grad():
            decay = min(AVERAGE, (self.step + 1) / (self.step + 20))
            for name, value in self.parts.trained().items():
                if name in self.average:
                    self.average[name].lerp_(value.detach(), 1 - decay)
                else:
                    self.average[name] = value.detach().clone()

    def _rehearsed(self, samples: list[Sample], batch: dict[str, Tensor]) -> Tensor | None:
        """The alignment's loss at this step, with that of the things that are boxed in its pictures."""
        if self.batch_words is not None:
            vocabulary, words = self.batch_words.vocabulary, self.batch_words.loss(samples, batch["image_tokens"])
        elif self.rehearses and self.rehearsal is not None:
            seeds = [self.seed, self.step, 2, self.peers.rank]
            vocabulary = self.rehearsal.vocabulary
            words = self.rehearsal.loss(self.parts.projector, seeds, self.peers.world_size)
        else:
            return None
        return words + BOX_WEIGHT * box_loss(vocabulary, samples, batch["image_tokens"])

    @torch.no_grad()
    def measure(self, pictures: int = 160) -> dict[str, float]:
        """Share of held-out answers that are right token for token (teacher forcing), by kind, with mean weights."""
        if not self.peers.is_main:
            return {}
        current = {name: value.detach().clone() for name, value in self.parts.trained().items()}
        load_trained(self.parts, self.average)
        correct: dict[str, list[bool]] = defaultdict(list)
        for start in range(0, pictures, 8):
            samples = [self.held.sample(1, start + i) for i in range(8)]
            for kind, right in right_turns(samples, *self.logits(samples)):
                correct[kind].append(right)
        load_trained(self.parts, current)
        figures = {kind: round(float(np.mean(values)), 3) for kind, values in sorted(correct.items())}
        self.log({"held_out": figures, "n": {kind: len(values) for kind, values in sorted(correct.items())}})
        return figures

    # -- files --------------------------------------------------------------------------------------------------

    def log(self, record: dict[str, Any]) -> None:
        if not self.peers.is_main:
            return
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")

    def save(self) -> None:
        if not self.peers.is_main:
            return
        state = {
            "trained": {name: value.detach() for name, value in self.parts.trained().items()},
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "next_sample": self.next_sample,
            "step": self.step,
            "seconds": self.seconds,
        }
        part = self.folder / "checkpoint.part"
        torch.save(state, part)
        part.replace(self.folder / CHECKPOINT)

    def resume(self) -> bool:
        """Go on from the folder's checkpoint; False where there is none."""
        file = self.folder / CHECKPOINT
        if not file.is_file():
            return False
        state = torch.load(file, weights_only=True)
        load_trained(self.parts, state["trained"])
        self.average = state["average"]
        scales = [group.get("scale", 1.0) for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, scale in zip(self.optimizer.param_groups, scales, strict=True):
            group["scale"] = scale
        self.next_sample, self.step, self.seconds = state["next_sample"], state["step"], state["seconds"]
        return True


def spent(folder: Path) -> Spent:
    """The samples, steps and minutes of a run, from its checkpoint."""
    state = torch.load(folder / CHECKPOINT, weights_only=True)
    return Spent(state["next_sample"], state["step"], round(state["seconds"] / 60, 1))


def image_tokens(config: Any) -> int:
    """How many image tokens a picture has: one for each patch of a tower of this config."""
    return (config.image_size // config.patch_size) ** 2


def run(
    parts: Parts,
    data: Mixture,
    held: Mixture,
    folder: Path,
    minutes: float,
    align_pictures: int = 9000,
    align_epochs: int = 4,
    projector_minutes: float = 4.0,
    resume: bool = False,
    log: Callable[[str], None] = print,
    seed: int = 0,
    steps: int = 0,
    caption_minutes: float = 0.0,
    label_minutes: float = 0.0,
    tower_stages: int = 0,
) -> None:
    """All stages of one run; with ``resume``, or from an earlier run's projector, stage 2 alone, which takes ``steps``
    instead of ``minutes`` where they are given. Then for ``caption_minutes`` ``self_critical``, and for
    ``label_minutes`` mostly labelled pictures, charts and texts, without descriptions of photographs.

    With ``tower_stages`` the last stages of an EfficientNet-Lite are trained from stage 2 on."""
    if tower_stages:
        parts.train_tower(last_stages(parts.tower, tower_stages))
    trainer = Trainer(parts, data, held, folder, seed, init_peers())
    compile_layers(parts)
    resumed = resume and trainer.resume()
    aligned = resumed or parts.aligned
    if not (aligned and parts.trained_tower):
        log(f"Patch features of {align_pictures} pictures, which are aligned with words")
        trainer.gather(align_pictures, imagenet_classifier(getattr(parts.tower, "classifier", None), data))
    if not aligned:
        log("Stage 0: aligning image tokens with words")
        trainer.align(align_epochs)
        if projector_minutes:
            log(f"Stage 1: the projector, for {projector_minutes} minutes")
            trainer.train(projector_minutes, 1, measure_every=1e9)
    if parts.trained_tower:
        trainer.rehearse_batches()
    if minutes or steps or not (caption_minutes or label_minutes):
        log(f"Stage 2: projector and LoRA, for {f'{steps} steps' if steps else f'{minutes} minutes'}")
        trainer.train(minutes, 2, steps=steps)
    if caption_minutes:
        log(f"Captions: samples scored by CIDEr-D, for {caption_minutes} minutes")
        SelfCritical(trainer, data.packer).train(caption_minutes)
    if label_minutes:
        log(f"Labels, charts and texts, for {label_minutes} minutes")
        data.share_out(LABEL_SHARES)
        data.describes_photos, trainer.rate_scale = False, LABEL_RATE * trainer.rate_scale
        trainer.train(label_minutes, 2)
