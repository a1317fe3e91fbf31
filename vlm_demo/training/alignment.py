"""Alignment: a projector learns, before any language model sees it, to place image tokens near word embeddings.

Each image token is scored against the input embeddings of the words in its picture's annotations; minutes of this
decide how well the language model's loss can begin. Needs neither the language model's layers nor an answer.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlm_demo.models.quantization import fast_bf16
from vlm_demo.training.photo_words import READABLE

WORD = re.compile(r"[a-z][a-z-]+")
# Words that do not describe what is seen; yes, no and numbers stay out as well.
STOP_WORDS = frozenset(
    "a an and are as at be by for from has have he her his in into is it its of on or out over she some that the their "
    "them there they this to up was were while who with yes no not one two three four five six seven eight nine ten "
    "picture image photo photograph shows showing unknown true false very other another each all".split()
)
MIN_PICTURES = 3  # a word must belong to this many
NORM_WEIGHT = 0.02


def words_of(item: Mapping[str, Any]) -> set[str]:
    """A picture's words, from captions, labels and the names of boxes."""
    texts = [*item.get("captions", ()), *(READABLE.get(box[0], box[0]) for box in item.get("boxes", ()))]
    for name, value in item.get("labels", {}).items():
        texts += value if name == "things" else [value]
    return {word for text in texts for word in WORD.findall(text.lower())} - STOP_WORDS


class Vocabulary:
    """Words with their input embeddings.

    Attributes:
        words: the words that belong to enough pictures.
        mean: [d], the mean of all input embeddings.
        vectors: [words, d], each word's embedding (the mean of its tokens'), less ``mean``.
        bias: [words], the logarithm of each word's frequency.
    """

    def __init__(self, word_sets: Sequence[set[str]], embeddings: Tensor, encode: Callable[[str], list[int]]) -> None:
        counts = Counter(word for words in word_sets for word in words)
        self.words = sorted(word for word, count in counts.items() if count >= MIN_PICTURES)
        self.index = {word: i for i, word in enumerate(self.words)}
        self.mean = embeddings.float().mean(0)
        rows = [embeddings[encode(f" {word}")].float().mean(0) - self.mean for word in self.words]
        self.vectors = torch.stack(rows)
        self.bias = torch.tensor([math.log(counts[word] / len(word_sets)) for word in self.words])

    def scores(self, tokens: Tensor, temperature: float | Tensor) -> Tensor:
        """How well each word fits a picture, [pictures, words]: a soft maximum of its tokens' cosines, and its log
        frequency.

        Args:
            tokens: image tokens less ``mean``, [pictures, tokens, d].
        """
        return (self.cosines(tokens) * temperature).logsumexp(1) + self.bias

    def cosines(self, tokens: Tensor) -> Tensor:
        """Cosines of image tokens less ``mean`` with each word, float32 [..., words]."""
        unit = nn.functional.normalize(tokens.float(), dim=-1)
        return (unit @ nn.functional.normalize(self.vectors, dim=1).T).float()

    def targets(self, words: set[str]) -> Tensor:
        """[words], the distribution over the vocabulary that a picture of these words should get."""
        row = torch.zeros(len(self.words))
        indices = [self.index[word] for word in words if word in self.index]
        if indices:
            row[indices] = 1 / len(indices)
        return row


def align(
    projector: nn.Module,
    features: Tensor,
    targets: Tensor,
    vocabulary: Vocabulary,
    epochs: int,
    report: Callable[[str], None],
    batch: int = 64,
    rate: float = 1e-3,
) -> None:
    """Train the projector on cached patch features; its last bias gets the mean embedding at the end.

    Args:
        features: [pictures, tokens, channels], bf16.
        targets: [pictures, words], rows sum to 1, or to 0 where no word is known.
        report: called after each epoch with a line about it.
    """
    usable = targets.sum(1) > 0
    features, targets = features[usable], targets[usable]
    held_out = torch.arange(len(features)) % 20 == 0
    train_rows = (~held_out).nonzero()[:, 0]
    norm = vocabulary.vectors.norm(dim=1).mean()
    temperature = nn.Parameter(torch.tensor(math.log(10.0)))
    parameters = [*projector.parameters(), temperature]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    steps = epochs * math.ceil(len(train_rows) / batch)
    warm_up = max(0.1, min(0.6, 1.5 / steps))  # more than a step, which OneCycleLR divides by
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=warm_up)

    def scored(rows: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bf16(torch.device("cpu"))):
            tokens = projector(features[rows].float())  # [B, N, d]
            return vocabulary.scores(tokens, temperature.exp()), tokens.float()

    for epoch in range(epochs):
        started, total = time.perf_counter(), 0.0
        order = train_rows[torch.randperm(len(train_rows), generator=torch.Generator().manual_seed(epoch))]
        for rows in order.split(batch):
            scores, tokens = scored(rows)
            loss = -(targets[rows] * scores.log_softmax(1)).sum(1).mean()
            objective = loss + NORM_WEIGHT * (tokens.norm(dim=-1) - norm).square().mean()
            optimizer.zero_grad()
            objective.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        with torch.no_grad():
            rows, k = held_out.nonzero()[:, 0], min(5, len(vocabulary.words))
            top = torch.cat([scored(part)[0].topk(k).indices for part in rows.split(batch)])
            hit = (targets[rows].gather(1, top) > 0).any(1).float().mean()
        report(
            f"alignment epoch {epoch + 1}: loss {total / len(order):.3f}, one of the five likeliest words is right for "
            f"{hit:.0%} of {len(rows)} held-out pictures, {time.perf_counter() - started:.0f} s"
        )
    with torch.no_grad():
        projector.linear_2.bias += vocabulary.mean
