"""Q-Former training: a BLIP-2 bridge between a frozen vision tower and a frozen language model, in three stages.

1. ITC and ITM on captioned photographs, from cached features: the queries learn to extract what a caption describes.
2. Alignment: the projection of the queries is trained to bring them near the embeddings of the words in each picture's
   annotations. It alone: if the queries are trained on that too, they become one and the same.
3. The language model's loss on conversations. Every few steps repeat stage 1, so that one Q-Former serves both.

``compose`` and ``run`` train. Nothing of the language model changes.
"""

from __future__ import annotations

import copy
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vlm_demo.errors import VlmDemoError
from vlm_demo.models import minilm
from vlm_demo.models.builders.blip2 import qformer_config
from vlm_demo.models.efficientnet_bridges_config import EfficientNetBlip2Config, ProjectedEfficientNetConfig
from vlm_demo.training import bridge_training, finetune
from vlm_demo.training.alignment import Vocabulary, align, words_of
from vlm_demo.training.branches import IMAGE_TOKEN, BranchPacker
from vlm_demo.training.cached_features import Captioned, cached_features, captioned
from vlm_demo.training.finetune import COOL_DOWN, Trainer
from vlm_demo.training.mixture import Mixture, Sample
from vlm_demo.training.qformer_bridge import AlignedQueries, QFormerBridge, compare, padded, retrieval_figures
from vlm_demo.training.record import Spent
from vlm_demo.training.trained_parts import (
    ATTENTION,
    Parts,
    compile_layers,
    fast_dtype,
    load_trained,
    register_attention,
)

QUERIES, CROSS_EVERY, COMPARED = 32, 2, 256  # 12 million trained weights, 24 MB in bf16
INITIALIZED_SCALE = 0.3  # of the learning rate, for weights that began as the text encoder's
BATCH, ITM_PICTURES = 64, 24  # pictures in a batch of ITC; of these, those in ITM
REHEARSED = 4  # steps of the last stage between two steps of the first
RATE, WARM_UP = 5e-4, 100  # of the first stage
HELD, ALIGNED = 300, 6000  # pictures
SAVE_EVERY = 4.0  # minutes
PROGRESS = "stages.json"


@dataclass
class QFormerParts(Parts):
    """The parts of a model in training; ``projector`` is the bridge, there is no LoRA, and ``text_tokenizer`` is
    the bridge's."""

    projector: Any
    text_tokenizer: Any = None

    def trained(self) -> dict[str, nn.Parameter]:
        return self.projector.trained()


def compose(
    tower: nn.Module,
    llm: Any,
    tokenizer: Any,
    text: minilm.TextTower,
    init: Path | None = None,
    queries: int = QUERIES,
) -> QFormerParts:
    """Freeze tower and language model and put a new Q-Former between them.

    Args:
        tower: of EfficientNet-Lite, see ``pretrained.VisionTower``; its config's ``image_size`` is that of the mixture.
        llm: ``LlamaForCausalLM``.
        text: the text encoder that the Q-Former begins as.
        init: a ``trained.safetensors`` to begin with.
    """
    dtype = fast_dtype()
    tower = bridge_training.frozen(tower, dtype).to(memory_format=torch.channels_last)
    llm = bridge_training.frozen(llm, dtype)
    register_attention()
    llm.set_attn_implementation(ATTENTION)
    width = text.config.hidden_size
    config = EfficientNetBlip2Config(
        text_config=copy.deepcopy(llm.config),  # a copy, since the config would unset its attention implementation
        vision_config=ProjectedEfficientNetConfig(image_size=tower.config.image_size, projected_size=width),
        qformer_config=qformer_config(text, CROSS_EVERY),
        num_query_tokens=queries,
        image_text_hidden_size=min(COMPARED, width),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
    )
    bridge = QFormerBridge(config, minilm.qformer_weights(text, config.qformer_config.max_position_embeddings))
    parts = QFormerParts(tower, llm, tokenizer, bridge, {}, text_tokenizer=text.tokenizer)
    if init is not None:
        load_trained(parts, load_file(init))
        parts.projector.standardized = parts.aligned = True
    return parts


class ContrastiveStage:
    """ITC and ITM on cached features; draws from a seed and a batch's number alone.

    Args:
        features, held_features: [pictures, positions, channels].
        pictures, held: their captions.
    """

    def __init__(
        self,
        parts: QFormerParts,
        features: Tensor,
        pictures: Sequence[Captioned],
        held_features: Tensor,
        held: Sequence[Captioned],
        seed: int = 0,
        batch: int = BATCH,
    ) -> None:
        self.bridge, self.tokenizer, self.seed = parts.projector, parts.text_tokenizer, seed
        self.features, self.pictures, self.held_features = features, pictures, held_features
        self.batch = min(batch, len(pictures))
        self.held = padded([photo.captions[0] for photo in held], self.tokenizer, self.bridge.longest)
        self.fast = fast_dtype() == torch.bfloat16

    def losses(self, number: int) -> dict[str, Tensor]:
        """See ``compare``, of the batch of this number."""
        rng = np.random.default_rng([self.seed, number, 2])
        rows = rng.permutation(len(self.pictures))[: self.batch]
        captions = [self.pictures[row].captions for row in rows]
        ids, mask = padded(
            [texts[int(rng.integers(len(texts)))] for texts in captions], self.tokenizer, self.bridge.longest
        )
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
            return compare(self.bridge, self.features[torch.from_numpy(rows)], ids, mask, ITM_PICTURES, generator)

    def figures(self) -> dict[str, float]:
        """See ``retrieval_figures``, of the held-out pictures, a hundred at a time."""
        ids, mask = self.held
        with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
            return retrieval_figures(self.bridge, self.held_features, ids, mask, min(100, len(ids)))


class QFormerTrainer(Trainer):
    """A run in a folder, as ``Trainer`` has it, with the two stages before the language model's loss."""

    rate_scale = 0.5  # whole matrices are trained, not LoRA

    def __init__(
        self,
        parts: QFormerParts,
        data: Mixture,
        held: Mixture,
        folder: Path,
        comparison: ContrastiveStage,
        seed: int = 0,
    ) -> None:
        super().__init__(parts, data, held, folder, seed)
        self.comparison, self.bridge = comparison, parts.projector
        self.compared, self.compared_minutes, self.aligned = 0, 0.0, False

    def _groups(self) -> list[dict[str, Any]]:
        initialized, new = list[nn.Parameter](), list[nn.Parameter]()
        for name, value in self.parts.trained().items():
            (initialized if name in self.parts.projector.initialized else new).append(value)
        slower = [
            group | {"scale": group["scale"] * INITIALIZED_SCALE} for group in bridge_training.groups(initialized)
        ]
        return [*bridge_training.groups(new), *slower]

    def represent(self, minutes: float, measure_every: float = 6.0) -> None:
        """Stage 1, for so many minutes, all resumptions together."""
        self.bridge.standardize(self.comparison.features[:500].flatten(0, 1))
        before, started, saved, measured = self.compared_minutes, time.perf_counter(), 0.0, 0.0
        recent: dict[str, list[float]] = defaultdict(list)
        while self.compared_minutes < minutes:
            left = (1 - self.compared_minutes / minutes) / COOL_DOWN
            rate = RATE * min(1.0, (self.compared + 1) / WARM_UP) * max(0.05, min(1.0, left))
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            for name, value in self._compare().items():
                recent[name].append(value)
            spent = (time.perf_counter() - started) / 60
            self.compared_minutes = before + spent
            if self.compared % 20 == 0:
                means = {name: round(float(np.mean(values)), 3) for name, values in recent.items()}
                total_minutes = round(self.compared_minutes, 1)
                self.log({"stage": 1, "step": self.compared, "minutes": total_minutes, "loss": means})
                recent.clear()
            if spent - saved > SAVE_EVERY:
                saved = spent
                self.save()
            if spent - measured > measure_every:
                measured = spent
                self.measure_retrieval()
        self.save()
        self.measure_retrieval()

    def _compare(self) -> dict[str, float]:
        """One step of ITC and ITM."""
        losses = self.comparison.losses(self.compared)
        self.optimizer.zero_grad()
        (losses["itc"] + losses["itm"] + losses["alike"]).backward()
        nn.utils.clip_grad_norm_(list(self.parts.trained().values()), 1.0)
        self.optimizer.step()
        self.compared += 1
        return {name: value.item() for name, value in losses.items()}

    def align_queries(self, epochs: int, pictures: int = ALIGNED) -> None:
        """Stage 2, on the first of the cached pictures."""
        photos = self.comparison.pictures[:pictures]
        word_sets = [words_of(photo.item) for photo in photos]
        encode = BranchPacker(self.parts.tokenizer, 0).encode
        vocabulary = Vocabulary(word_sets, self.parts.llm.get_input_embeddings().weight.detach(), encode)
        targets = torch.stack([vocabulary.targets(words) for words in word_sets])
        self.log({"stage": 2, "pictures": len(photos), "words": len(vocabulary.words)})
        projection = AlignedQueries(self.bridge.language_projection)
        queries = self.queries(self.comparison.features[: len(photos)])
        align(projection, queries, targets, vocabulary, epochs, lambda text: self.log({"stage": 2, "text": text}))
        self.aligned = True
        self.save()

    @torch.no_grad()
    def queries(self, features: Tensor) -> Tensor:
        """The Q-Former's output bf16 [pictures, queries, d] for features [pictures, positions, channels]."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.comparison.fast):
            parts = [self.bridge.query(self.bridge.feature_head(part)) for part in features.split(BATCH)]
        return torch.cat(parts).bfloat16()

    def learn(
        self, samples: list[Sample], recent: dict[str, list[float]], added: Callable[[], Tensor] | None = None
    ) -> None:
        super().learn(samples, recent, added)
        if self.step % REHEARSED == 0:
            for name, value in self._compare().items():
                recent[name].append(value)

    def measure(self, pictures: int = 160) -> dict[str, float]:
        """See ``Trainer.measure``; and how well pictures and texts still find one another."""
        return super().measure(pictures) | self.measure_retrieval()

    @torch.no_grad()
    def measure_retrieval(self) -> dict[str, float]:
        """Held-out R@1 and ITM with averaged weights; see ``retrieval_figures``."""
        current = {name: value.detach().clone() for name, value in self.parts.trained().items()}
        load_trained(self.parts, self.average)
        figures = self.comparison.figures()
        load_trained(self.parts, current)
        self.log({"retrieval": figures})
        return figures

    def save(self) -> None:
        super().save()
        progress = {"compared": self.compared, "compared_minutes": self.compared_minutes, "aligned": self.aligned}
        (self.folder / PROGRESS).write_text(json.dumps(progress), encoding="utf-8")

    def resume(self) -> bool:
        if not super().resume():
            return False
        progress = json.loads((self.folder / PROGRESS).read_text(encoding="utf-8"))
        self.compared, self.compared_minutes = progress["compared"], progress["compared_minutes"]
        self.aligned, self.bridge.standardized = progress["aligned"], True
        return True


def run(
    parts: QFormerParts,
    data: Mixture,
    held: Mixture,
    folder: Path,
    minutes: float,
    compare_minutes: float = 30.0,
    pictures: int = 12000,
    align_epochs: int = 10,
    resume: bool = False,
    compiled: bool = True,
    log: Callable[[str], None] = print,
    seed: int = 0,
) -> None:
    """All stages of one run; with ``resume`` those that are not done, from an earlier run's weights the last alone.

    Args:
        parts: see ``compose``.
        data, held: mixtures whose packer writes as many image tokens as there are queries.
        folder: gets ``checkpoint.pt``, ``log.jsonl`` and the cached features.
        minutes: of the language model's loss.
        compare_minutes: of ITC and ITM.
        pictures: captioned photographs for these; their features take 285 KB each on the disk.
        compiled: whether to compile the language model's layers, which takes half a minute and saves a quarter.
    Raises:
        VlmDemoError: there are no captioned photographs.
    """
    log(f"Features of up to {pictures} captioned photographs, once")
    train_photos, held_photos = captioned(data, pictures, seed), captioned(held, HELD, seed)
    if not train_photos or not held_photos:
        raise VlmDemoError("There are no captioned photographs to train on, or none held out: name their folders.")
    features = cached_features(folder / "features.bf16", train_photos, data.side, parts.features)
    held_features = cached_features(folder / "held_features.bf16", held_photos, data.side, parts.features)
    comparison = ContrastiveStage(parts, features, train_photos, held_features, held_photos, seed)
    trainer = QFormerTrainer(parts, data, held, folder, comparison, seed)
    if resume:
        trainer.resume()
    trainer.aligned = trainer.aligned or parts.aligned
    if trainer.compared_minutes < compare_minutes and not trainer.aligned:
        log(f"Stage 1: ITC and ITM, for {compare_minutes} minutes")
        trainer.represent(compare_minutes)
    if not trainer.aligned and align_epochs:
        log(f"Stage 2: aligning the queries with words, {align_epochs} epochs")
        trainer.align_queries(align_epochs)
    if minutes > 0:
        log(f"Stage 3: the language model's loss, for {minutes} minutes")
        if compiled:
            compile_layers(parts)
        trainer.train(minutes, 2)


def spent(folder: Path) -> Spent:
    """What a run took, with ITC and ITM, by its checkpoint."""
    last, progress = finetune.spent(folder), json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
    minutes = round(last.minutes + progress["compared_minutes"], 1)
    return Spent(last.samples, last.steps + progress["compared"], minutes)


def image_tokens(_config: Any) -> int:
    """How many tokens stand for the picture in the text: one for each query, for any tower."""
    return QUERIES
