"""Losses: the training losses of one picture and text: ITC, ITM and LM, with every number filled in.

ITC contrasts a text with others (Radford et al. 2021), ITM reads picture and text together (Li et al. 2023), LM asks
for the next word. All three are negative logarithms of a probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer, Scores

# The texts that a text is contrasted with.
NEGATIVES = (
    "A dog runs across the grass.",
    "A bowl of fruit stands on a table.",
    "Cars are parked along a street.",
    "A page of printed text.",
)
LEAST = 1e-12  # of a probability, so that its logarithm is finite


@dataclass(frozen=True)
class Contrast:
    """ITC of one picture: ``similarities`` are cosines of it and of ``texts``, the first of which is its own;
    ``outside``: whether the picture is out of distribution for the model."""

    model: str
    texts: tuple[str, ...]
    similarities: tuple[float, ...]
    temperature: float
    outside: bool = False

    @property
    def loss(self) -> float:
        """−log of the softmax over the texts of similarity / temperature, at the first."""
        logits = [similarity / self.temperature for similarity in self.similarities]
        top = max(logits)
        return top + math.log(sum(math.exp(logit - top) for logit in logits)) - logits[0]

    @property
    def closest(self) -> float:
        """The best of the other similarities."""
        return max(self.similarities[1:])


@dataclass(frozen=True)
class Match:
    """ITM of a picture and its text: ``probability`` 0..1 that they fit; ``outside`` as for `Contrast`."""

    model: str
    probability: float
    outside: bool = False

    @property
    def loss(self) -> float:
        return -math.log(max(self.probability, LEAST))


@dataclass(frozen=True)
class NextWord:
    """LM of an answer.

    Attributes:
        model: that wrote it.
        surprises: of each token, −log of its probability given those before it.
        blank: the loss of the same tokens after blank pictures; None where not computed.
    """

    model: str
    surprises: tuple[float, ...]
    blank: float | None = None

    @property
    def loss(self) -> float:
        """The mean."""
        return sum(self.surprises) / len(self.surprises)

    @property
    def perplexity(self) -> float:
        return math.exp(self.loss)


def contrast(scores: Scores, outside: bool = False) -> Contrast:
    """ITC of the first of the texts that were scored."""
    return Contrast(scores.model, scores.texts, scores.similarities, scores.temperature, outside)


def match(scores: Scores, outside: bool = False) -> Match | None:
    """ITM of the first of the texts that were scored; None where the model has no head for it."""
    return None if scores.matches is None else Match(scores.model, scores.matches[0], outside)


def next_word(answer: Answer, blank: Sequence[float] = ()) -> NextWord | None:
    """LM of an answer; None where it has no tokens.

    Args:
        blank: the probabilities of its tokens after blank pictures.
    """
    if not answer.tokens:
        return None
    surprises = tuple(-math.log(max(token.probability, LEAST)) for token in answer.tokens)
    without = sum(-math.log(max(chance, LEAST)) for chance in blank) / len(blank) if blank else None
    return NextWord(answer.model, surprises, without)


def others(text: str) -> tuple[str, ...]:
    """The texts that a text is contrasted with, without itself."""
    plain = text.strip().rstrip(".").casefold()
    return tuple(negative for negative in NEGATIVES if negative.rstrip(".").casefold() != plain)
