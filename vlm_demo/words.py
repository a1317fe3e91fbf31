"""Words: which of them point at nothing in a picture, and what page and terminal both say. Knows no model."""

from __future__ import annotations

import re
import unicodedata

CUT = "The model began to repeat itself, so the answer was cut there."  # shown for an answer with ``cut`` tokens
FULL = "The answer is unfinished: the model was not allowed to write more."  # shown for one that is ``full``
OCR_CUT = "The context holds a part of the text that was read: {} of {} words, far from the question, are left out."
# Shown for an answer that a server wrote: by which model, and which model read it here.
REPLAYED = (
    "{0} wrote this answer on a server. Heatmaps, badge, checks and probabilities are those of {1}, which read it here "
    "and would have written {2:.0%} of its tokens itself."
)
REREAD = (
    "{0} gave this answer, in a conversation that was saved. Heatmaps, badge, checks and probabilities are those of "
    "{1}, which read it here{2}."
)
AGREED = " and would have written {:.0%} of its tokens itself"
UNREAD = "{0} wrote this answer on a server. {1}"
EDGES = re.compile(r"^[\W_]+|[\W_]+$")
FUNCTION_WORDS = frozenset(
    "a an the this that these those there here it its is are was were be been being am has have had do does did "
    "and or but nor so than then if as not no yes unknown in on at of to from by with for "
    "i you he she we they his her their our my your one some any each which who what where when while also very".split()
)
ANSWERS = frozenset("yes no not unknown one".split())  # of these: what may itself be the answer


def bare(text: str) -> str:
    """Folded, in one spelling of each sign, and without punctuation around it."""
    return EDGES.sub("", unicodedata.normalize("NFKC", text).casefold())


def is_content_word(word: str) -> bool:
    """Whether a word of an answer (folded, without punctuation) carries meaning by itself: no function word."""
    return bool(word) and (word not in FUNCTION_WORDS or word in ANSWERS)


def gigabytes(count: int) -> str:
    """A number of bytes for people to read."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
