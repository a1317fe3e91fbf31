"""Repetition: the tokens written so far → whether their tail has become a loop, and how many of them to keep.

Greedy decoding can fall into a loop that it never leaves (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751): the
same token for ever, or the same sentence. Only what repeats exactly and many times in a row counts, so that "no, no",
two equal lines of a transcript, lists and tables stay whole. Knows neither the model nor the question.
"""

from __future__ import annotations

from collections.abc import Sequence

LONGEST = 64  # tokens of what repeats, at most
TIMES = 3  # it stands there in a row, at least
SPAN = (
    40  # tokens of all of them together, at least: a single token stands there 40 times, a sentence of 17 three times
)
SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", "\n")


def period(ids: Sequence[int]) -> int | None:
    """After how many tokens the tail repeats: the fewest that stand there ``TIMES`` times in a row and fill ``SPAN``
    tokens; None where it is no loop, or one of more than ``LONGEST`` tokens."""
    ids = list(ids)
    for n in range(1, min(LONGEST, len(ids) // TIMES) + 1):
        filled = n * max(TIMES, -(-SPAN // n))
        if filled <= len(ids) and ids[-1] == ids[-1 - n] and ids[-filled:-n] == ids[n - filled :]:
            return n
    return None


def kept(ids: Sequence[int], texts: Sequence[str], period: int) -> int:
    """How many tokens to keep of an answer whose tail repeats: up to the end of the first occurrence, or as far into
    the second one as the sentence goes on there, since a loop may be noticed to begin in the middle of a sentence.

    Args:
        ids: the tokens.
        texts: each token's text, as it extends the answer.
        period: what `period` returns for ``ids``.
    """
    start = len(ids) - period
    while start and ids[start - 1] == ids[start - 1 + period]:
        start -= 1
    first = start + period
    second = range(first, min(first + period, len(ids)))
    for ends in (_sentence_ends, _word_ends):
        found = next((stop for stop in second if ends(texts, stop)), None)
        if found is not None:
            return found
    return first


def _sentence_ends(texts: Sequence[str], stop: int) -> bool:
    """Whether a sentence or line ends before token ``stop``; the point of 12.50 ends none."""
    text = "".join(texts[:stop])
    inside = text[-1:].isspace() is False and texts[stop][:1].isalnum()
    return text.rstrip(" ").endswith(SENTENCE_ENDS) and not inside


def _word_ends(texts: Sequence[str], stop: int) -> bool:
    return bool(texts[stop - 1]) and not texts[stop][:1].isalnum()
