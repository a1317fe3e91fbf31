"""Quoted: an answer and the text that OCR read → what it repeats of that text, and the readings without these words.

Compares words and nothing else: ``explain.grounding`` tests whether an answer rests on them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vlm_demo.contracts import OcrResult, Word
from vlm_demo.contracts.ocr import ReadWord
from vlm_demo.words import FUNCTION_WORDS, bare

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer

Place = tuple[int, int]  # which reading, and which of its words


@dataclass(frozen=True)
class Quote:
    """What an answer repeats of the text that was read.

    Attributes:
        text: the words as they were read, joined by spaces.
        words: those of the answer.
        places: of all the places at which they were read, each word: (index in ``Answer.ocrs``, index of the word).
    """

    text: str
    words: tuple[Word, ...]
    places: tuple[Place, ...]


def quoted(words: Sequence[Word], ocrs: Sequence[OcrResult]) -> Quote | None:
    """The whole answer if it was read as consecutive words, or else the run of its words that was read so and says
    most: the one of most content words, of several one with a number, of several the last. None where there is none."""
    answer_words = [(bare(word.text), word) for word in words if bare(word.text)]
    read = [[(bare(word.text), i) for i, word in enumerate(result.words) if bare(word.text)] for result in ocrs]
    best: tuple[tuple[int, bool, int, int], slice] | None = None
    for start in range(len(answer_words)):
        for stop in range(start + 1, len(answer_words) + 1):
            run = [text for text, _ in answer_words[start:stop]]
            if not any(next(_found(run, line), None) is not None for line in read):
                break  # what is longer was not read either
            content_words = sum(text not in FUNCTION_WORDS for text in run)
            rank = (content_words, any(letter.isdigit() for text in run for letter in text), start, stop - start)
            if content_words and (best is None or rank > best[0]):
                best = rank, slice(start, stop)
    if best is None:
        return None
    found = answer_words[best[1]]
    run = [text for text, _ in found]
    hits = [(number, hit) for number, texts in enumerate(read) for hit in _found(run, texts)]
    number, hit = hits[0]
    text = " ".join(ocrs[number].words[i].text for i in hit)
    places = dict.fromkeys((number, i) for number, hit in hits for i in hit)
    return Quote(text, tuple(word for _, word in found), tuple(places))


def read_words(quote: Quote, answer: Answer) -> tuple[ReadWord, ...]:
    """The words of all places, with the picture that each stands in."""
    earlier = len(answer.views) - len(answer.ocrs)  # pictures of the history, whose text was not read
    return tuple(ReadWord(earlier + number, answer.ocrs[number].words[i]) for number, i in quote.places)


def without(ocrs: Sequence[OcrResult], places: Collection[Place]) -> tuple[OcrResult, ...]:
    """The readings with some words taken out of text and words; a line of which nothing is left goes too."""
    return tuple(
        _without(result, {i for number, i in places if number == picture}) if result.words else result
        for picture, result in enumerate(ocrs)
    )


def others(ocrs: Sequence[OcrResult], places: Collection[Place]) -> tuple[Place, ...]:
    """As many other words, one after the other as they stand, from a place drawn by chance; fewer where there are not
    as many."""
    import numpy as np

    remaining = [
        (number, i) for number, result in enumerate(ocrs) for i in range(len(result.words)) if (number, i) not in places
    ]
    if len(remaining) <= len(places):
        return tuple(remaining)
    start = int(np.random.default_rng(0).integers(len(remaining) - len(places) + 1))
    return tuple(remaining[start : start + len(places)])


def _found(run: Sequence[str], texts: Sequence[tuple[str, int]]) -> Iterator[list[int]]:
    """The indices of the words of each place at which ``run`` stands."""
    for i in range(len(texts) - len(run) + 1):
        if all(text == texts[i + j][0] for j, text in enumerate(run)):
            yield [texts[i + j][1] for j in range(len(run))]


def _without(result: OcrResult, taken: set[int]) -> OcrResult:
    """Each word is looked up in the text behind the one before it, so that the text may be laid out in any way."""
    text, at = result.text, 0
    pieces: list[str] = []
    for i, word in enumerate(result.words):
        start = text.find(word.text, at)
        if start < 0:
            continue
        stop = start + len(word.text)
        if i in taken:
            pieces.append(text[at:start])
            at = stop + text[stop:].startswith(" ")
        else:
            pieces.append(text[at:stop])
            at = stop
    lines = ("".join(pieces) + text[at:]).split("\n")
    left = "\n".join(line.rstrip() for line in lines if line.strip())
    return replace(result, text=left, words=tuple(word for i, word in enumerate(result.words) if i not in taken))
