"""OCR excerpt: readings that are too long for a prompt → the lines of them that have most to do with the question.

Knows lines of words; the caller measures the prompt. What is left out is counted in the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from vlm_demo.contracts import OcrResult, OcrWord, Prompt
from vlm_demo.errors import PromptTooLong
from vlm_demo.runtime import ocr_layout
from vlm_demo.words import FUNCTION_WORDS, bare

STEM = 5  # letters: words that begin with the same ones are of one kind, as "total" and "totals"
NEIGHBOUR_SHARE = 0.5  # of the relevance of the line above or below: a price stands below its name

Readings = tuple[OcrResult, ...]


def fitted(
    build: Callable[[Readings], Prompt],
    readings: Readings,
    question: str,
    most: int,
    encode: Callable[[str], Sequence[int]],
) -> tuple[Prompt, Readings]:
    """A prompt of at most so many tokens, as far as leaving text out can help, and the readings as they stand in it.

    Args:
        build: makes the prompt of the question and what was read.
        readings: of each picture.
        most: tokens.
        encode: a text's tokens.
    Raises:
        PromptTooLong: it does not fit the context without any text either.
    """
    while True:
        read = any(result.words for result in readings)
        try:
            prompt = build(readings)
            tokens = len(prompt.ids)
        except PromptTooLong as error:
            if not read:
                raise
            tokens = error.tokens
        if tokens <= most or not read:
            return prompt, readings
        readings = excerpt(readings, question, tokens - most, encode)


def excerpt(readings: Readings, question: str, tokens: int, encode: Callable[[str], Sequence[int]]) -> Readings:
    """The readings without whole lines of together at least so many tokens, at least one: first those that have least
    to do with the question, of equals the last. The others keep their order."""
    lines = [(number, line) for number, result in enumerate(readings) for line in ocr_layout.lines(result) if line]
    relevance = _relevance([line for _, line in lines], question)
    dropped: set[int] = set()
    for i in sorted(range(len(lines)), key=lambda i: (relevance[i], -i)):
        if tokens <= 0:
            break
        tokens -= len(encode(_text(lines[i][1]) + "\n"))
        dropped.add(i)
    excerpts = []
    for number, reading in enumerate(readings):
        kept = [line for i, (where, line) in enumerate(lines) if where == number and i not in dropped]
        words = tuple(word for line in kept for word in line)
        missing = reading.left_out + len(reading.words) - len(words)
        excerpts.append(replace(reading, text="\n".join(map(_text, kept)), words=words, left_out=missing))
    return tuple(excerpts)


def _relevance(lines: Sequence[Sequence[OcrWord]], question: str) -> list[float]:
    """How much each line has to do with the question: the words that they share, rare ones more (inverse document
    frequency, Spärck Jones 1972), and a share of its neighbours'."""
    question_stems = {_stem(word) for word in question.split()} - {""}
    shared = [{_stem(word.text) for word in line} & question_stems for line in lines]
    rarity = {
        stem: math.log(1 + len(lines) / max(1, sum(stem in stems for stems in shared))) for stem in question_stems
    }
    scores = [0.0, *(sum(rarity[stem] for stem in line) for line in shared), 0.0]
    return [scores[i] + NEIGHBOUR_SHARE * max(scores[i - 1], scores[i + 1]) for i in range(1, len(scores) - 1)]


def _stem(word: str) -> str:
    """How its kind begins; empty for a word that says nothing by itself."""
    word = bare(word)
    return "" if word in FUNCTION_WORDS else word[:STEM]


def _text(line: Sequence[OcrWord]) -> str:
    return " ".join(word.text for word in line)
