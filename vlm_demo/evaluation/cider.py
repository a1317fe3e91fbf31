"""CIDEr-D: what a model wrote about pictures and what people wrote → how far the two agree.

Vedantam et al. 2015, https://arxiv.org/abs/1411.5726, as the evaluation code of COCO captions computes it: words and
groups of up to four of them count by how rare they are in the references. Knows nothing of models or folders. A number
of it belongs to its set of pictures: the same sentences score otherwise among others.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ORDERS = (1, 2, 3, 4)  # words in a group
SIGMA = 6.0  # words of difference in length
SCALE = 10.0
RESAMPLES = 1000

NGram = tuple[str, ...]

_CLITIC = re.compile(r"(n't|'(?:s|m|d|re|ve|ll))(?!\w)")
_TOKEN = re.compile(r"n't(?!\w)|'(?:s|m|d|re|ve|ll)(?!\w)|\d+(?:[.,]\d+)+|\w+(?:[-']\w+)*")


def tokens(text: str) -> list[str]:
    """Words in lower case without punctuation, nearly as the tokenizer of the Penn Treebank has them: "isn't" is "is",
    "n't", "man's" is "man", "'s", and "three-wheeled" one word."""
    text = text.lower().replace("’", "'")
    return _TOKEN.findall(_CLITIC.sub(r" \1", text))


def cider_d(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """The CIDEr-D of each picture's sentence.

    For each n of 1..4 the cosine between the tf-idf vectors of the sentence and of a reference, where no group counts
    more often than it does in the reference, times exp(-d² / 2σ²), d the difference in words and σ = 6; the mean over
    n and the references, times 10. idf = ln(pictures / pictures that have the group in a reference).

    Args:
        predictions: a sentence for each picture.
        references: at least one for each picture.
    Returns:
        float64 [pictures], 0..10. All are 0 where there is one picture alone: nothing is rare then.
    """
    counted = [[_counts(text) for text in texts] for texts in references]
    pictures: Counter[NGram] = Counter()
    for texts in counted:
        pictures.update({gram for counts in texts for gram in counts})
    total = math.log(max(len(references), 1))

    def weighed(counts: Counter[NGram]) -> list[dict[NGram, float]]:
        vectors: list[dict[NGram, float]] = [{} for _ in ORDERS]
        for gram, count in counts.items():
            vectors[len(gram) - 1][gram] = count * (total - math.log(max(pictures[gram], 1)))
        return vectors

    scores = []
    for prediction, texts in zip(predictions, counted, strict=True):
        counts = _counts(prediction)
        candidate, length = weighed(counts), _length(counts)
        near = [_similarity(candidate, weighed(text), length - _length(text)) for text in texts]
        scores.append(SCALE * sum(near) / len(near))
    return np.array(scores, float)


@dataclass
class Captions:
    """What was written about pictures, each with its references."""

    predictions: list[str] = field(default_factory=list)
    references: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, prediction: str, references: Sequence[str]) -> None:
        self.predictions.append(prediction)
        self.references.append(tuple(references))

    def __add__(self, other: Captions) -> Captions:
        return Captions(self.predictions + other.predictions, self.references + other.references)

    def as_dict(self) -> dict[str, Any]:
        """n; cider: the mean CIDEr-D times 100, as it is commonly reported, 0..1000; low, high: its 95 % interval by
        the bootstrap over pictures, at fixed document frequencies. None for fewer than two pictures."""
        n = len(self.predictions)
        if n < 2:
            return {"n": n, "cider": None, "low": None, "high": None}
        scores = 100 * cider_d(self.predictions, self.references)
        drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
        low, high = np.quantile(scores[drawn].mean(1), (0.025, 0.975))
        return {"n": n, "cider": float(scores.mean()), "low": float(low), "high": float(high)}


def _counts(text: str) -> Counter[NGram]:
    words = tokens(text)
    return Counter(tuple(words[i : i + n]) for n in ORDERS for i in range(len(words) - n + 1))


def _length(counts: Counter[NGram]) -> int:
    return sum(count for gram, count in counts.items() if len(gram) == 1)


def _similarity(candidate: list[dict[NGram, float]], reference: list[dict[NGram, float]], longer: int) -> float:
    """The mean over n of the clipped cosine, 0..1, dampened by how much ``longer`` in words one of the two is."""
    total = 0.0
    for one, other in zip(candidate, reference, strict=True):
        norms = math.hypot(*one.values()) * math.hypot(*other.values())
        if norms:
            total += (
                sum(min(weight, other.get(gram, 0.0)) * other.get(gram, 0.0) for gram, weight in one.items()) / norms
            )
    return total / len(ORDERS) * math.exp(-(longer**2) / (2 * SIGMA**2))
