"""Prompt: what is asked, what was asked before, and exactly what the language model is given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """A run of prompt tokens [start, stop) of one origin.

    ``kind`` is one of ``template``, ``image``, ``ocr``, ``question``, ``rule``, ``history``, ``system``.
    """

    kind: str
    text: str
    start: int
    stop: int


@dataclass(frozen=True)
class Prompt:
    """Exactly what the language model is given.

    Attributes:
        text: the filled chat template, one placeholder for each picture.
        ids: token ids with every placeholder expanded.
        image_tokens: how many of ``ids`` are image tokens; where pictures are read through cross-attention these are
            marks, one a picture.
        image_positions: the index in ``ids`` of each image token, in the order of the pictures.
        segments: ``ids`` cut into runs by origin; together they cover it exactly.
        pieces: each of ``ids`` as the vocabulary writes it; empty where that is not known.
    """

    text: str
    ids: tuple[int, ...]
    image_tokens: int
    image_positions: tuple[int, ...]
    segments: tuple[Segment, ...]
    pieces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Turn:
    """One earlier exchange of the chat, oldest first in a history."""

    question: str
    answer: str
    images: tuple[object, ...] = ()


@dataclass(frozen=True)
class Conversation:
    """What the prompt was made of, except the pictures and the text that was read in them, so that it can be rebuilt
    with other text. ``history`` holds None in place of each picture."""

    question: str
    evidence_only: bool = False
    history: tuple[Turn, ...] = ()
    system: str = ""
