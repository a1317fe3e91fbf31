"""Repetition: the tokens written so far → whether their tail has become a loop, and how many of them to keep.

Greedy decoding can fall into a loop that it never leaves (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751): the
same token for ever, or the same sentence. Only what repeats exactly and many times in a row counts, so that "no, no",
two equal lines of a transcript, lists and tables stay whole. Knows neither the model nor the question.

Of a server's answer only the text is known, in chunks of any length: pieces about as long as tokens stand for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 64  # tokens of what repeats, at most
TIMES = 3  # it stands there in a row, at least
SPAN = (
    40  # tokens of all of them together, at least: a single token stands there 40 times, a sentence of 17 three times
)
# A word, or a part of a longer one; or a sign as often as it stands there, as in the rule of a table. With the space
# before it.
PIECE = re.compile(r" ?(?:[^\W\d_]{1,8}|(.)\1{0,7})", re.DOTALL)
SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", "\n")


def period(ids: Sequence[int | str]) -> int | None:
    """After how many tokens the tail repeats: the fewest that stand there ``TIMES`` times in a row and fill ``SPAN``
    tokens; None where it is no loop, or one of more than ``LONGEST`` tokens."""
    ids = list(ids)
    for n in range(1, min(LONGEST, len(ids) // TIMES) + 1):
        filled = n * max(TIMES, -(-SPAN // n))
        if filled <= len(ids) and ids[-1] == ids[-1 - n] and ids[-filled:-n] == ids[n - filled :]:
            return n
    return None


def kept(ids: Sequence[int | str], texts: Sequence[str], period: int) -> int:
    """How many tokens to keep of an answer whose tail repeats: up to the end of the first occurrence, or as far into
    the second one as the sentence goes on there, since a loop may be noticed to begin in the middle of a sentence.

    Args:
        ids: the tokens, or the pieces that stand for them.
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


class TextGuard:
    """The same for a text whose tokens are not known, as it comes."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._rest = ""  # the last piece, which may go on

    def add(self, text: str) -> int | None:
        """Take more of the text, at least a character; returns how many characters of all of it to keep where its tail
        repeats, None where it doesn't."""
        *whole, self._rest = (match.group() for match in PIECE.finditer(self._rest + text))
        for piece in whole:
            self._pieces.append(piece)
            if length := period(self._pieces):
                return len("".join(self._pieces[: kept(self._pieces, self._pieces, length)]))
        return None


def _sentence_ends(texts: Sequence[str], stop: int) -> bool:
    """Whether a sentence or line ends before token ``stop``; the point of 12.50 ends none."""
    text = "".join(texts[:stop])
    inside = text[-1:].isspace() is False and texts[stop][:1].isalnum()
    return text.rstrip(" ").endswith(SENTENCE_ENDS) and not inside


def _word_ends(texts: Sequence[str], stop: int) -> bool:
    return bool(texts[stop - 1]) and not texts[stop][:1].isalnum()
