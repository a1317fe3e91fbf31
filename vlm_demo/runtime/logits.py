"""Logits: hidden states → logits, some places at a time. Those of a long answer, each over the whole vocabulary, would
fill the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

PLACES_AT_ONCE = 512


def in_parts(head: Callable[[Tensor], Tensor], hidden: Tensor) -> Iterator[Tensor]:
    """Logits float32 [up to PLACES_AT_ONCE, vocabulary] of hidden states [places, d_llm], part after part.

    Args:
        head: hidden states [1, places, d_llm] → logits [1, places, vocabulary].
    """
    for part in hidden.split(PLACES_AT_ONCE):
        yield head(part[None])[0].float()
