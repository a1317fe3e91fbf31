"""CIDEr-D: a model's captions and reference captions → how far they agree.

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


class References:
    """The reference captions of a set of pictures, counted once, so that sentences can be scored against it.

    Attributes:
        texts: at least one sentence for each picture.
    """

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self.texts = texts
        self._counted = [[_counts(text) for text in references] for references in texts]
        self._pictures: Counter[NGram] = Counter()
        for counted in self._counted:
            self._pictures.update({gram for counts in counted for gram in counts})
        self._total = math.log(max(len(texts), 1))

    def score(self, index: int, prediction: str) -> float:
        """The CIDEr-D of a sentence about the picture of this index, 0..10; see ``cider_d``."""
        counts = _counts(prediction)
        candidate, length = self._tf_idf(counts), _length(counts)
        texts = self._counted[index]
        similarities = [_similarity(candidate, self._tf_idf(text), length - _length(text)) for text in texts]
        return SCALE * sum(similarities) / len(similarities)

    def _tf_idf(self, counts: Counter[NGram]) -> list[dict[NGram, float]]:
        vectors: list[dict[NGram, float]] = [{} for _ in ORDERS]
        for gram, count in counts.items():
            vectors[len(gram) - 1][gram] = count * (self._total - math.log(max(self._pictures[gram], 1)))
        return vectors


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
    scorer = References(references)
    if len(predictions) != len(references):
        raise ValueError("a sentence for each picture is scored")
    return np.array([scorer.score(i, prediction) for i, prediction in enumerate(predictions)], float)


@dataclass
class Captions:
    """A model's captions, each with its references."""

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
        resampled = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
        low, high = np.quantile(scores[resampled].mean(1), (0.025, 0.975))
        return {"n": n, "cider": float(scores.mean()), "low": float(low), "high": float(high)}


def _counts(text: str) -> Counter[NGram]:
    words = tokens(text)
    return Counter(tuple(words[i : i + n]) for n in ORDERS for i in range(len(words) - n + 1))


def _length(counts: Counter[NGram]) -> int:
    return sum(count for gram, count in counts.items() if len(gram) == 1)


def _similarity(
    candidate: list[dict[NGram, float]], reference: list[dict[NGram, float]], length_difference: int
) -> float:
    """The mean over n of the clipped cosine, 0..1, damped by their ``length_difference`` in words."""
    total = 0.0
    for candidate_weights, reference_weights in zip(candidate, reference, strict=True):
        norms = math.hypot(*candidate_weights.values()) * math.hypot(*reference_weights.values())
        if norms:
            total += (
                sum(
                    min(weight, reference_weights.get(gram, 0.0)) * reference_weights.get(gram, 0.0)
                    for gram, weight in candidate_weights.items()
                )
                / norms
            )
    return total / len(ORDERS) * math.exp(-(length_difference**2) / (2 * SIGMA**2))
