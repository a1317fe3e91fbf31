"""First token: the likeliest candidates for an answer's first token, the same ones in the same order for all answers.

Tokens are the same where their texts are: models of other vocabularies can be compared as far as that goes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vlm_demo.contracts import Answer

SHOWN = 5  # of the reference's candidates
REQUESTED = 20  # alternatives, so that a likely candidate of one column is found in another where it is unlikely


@dataclass(frozen=True)
class Candidate:
    """One text's probability in one answer: as a number, as percent of a bar, and whether it is the likeliest there."""

    text: str
    probability: str
    width: str
    likeliest: bool


def shared(answers: Sequence[Answer | None]) -> list[str]:
    """The candidates' texts that are shown for all answers: the first answer's likeliest, then each other's
    likeliest."""
    found: dict[str, None] = {}
    for number, answer in enumerate(answers):
        likely = _likely(answer)
        ranked = sorted(likely, key=lambda text: -likely[text])
        found |= dict.fromkeys(ranked[: 1 if number else SHOWN])
    return list(found)


def of(answer: Answer | None, texts: Sequence[str]) -> list[Candidate]:
    """One answer's probabilities of ``texts``; for those not among its candidates, an upper bound."""
    likely = _likely(answer)
    if not likely:
        return []
    top, least = max(likely, key=lambda text: likely[text]), min(likely.values())
    found = []
    for text in texts:
        probability = likely.get(text)
        shown = f"{probability:.2f}" if probability is not None else f"< {max(least, 0.01):.2f}"
        width = f"{100 * (probability or 0.0):.1f}"
        found.append(Candidate(text, shown, width, text == top))
    return found


def _likely(answer: Answer | None) -> dict[str, float]:
    """Text → probability of the candidates for the first token; of several with the same text, the likeliest."""
    if answer is None or not answer.tokens:
        return {}
    first = answer.tokens[0]
    likely = {_shown(first.text): first.probability}
    for alternative in first.alternatives:
        text = _shown(alternative.text)
        likely[text] = max(likely.get(text, 0.0), math.exp(alternative.logprob))
    return likely


def _shown(text: str) -> str:
    """A token's text, readable: without its leading space, and named where it is only white space."""
    return text.strip() or ("line end" if "\n" in text else "blank" if text else "part of a character")
