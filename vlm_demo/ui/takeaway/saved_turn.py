"""Saved turn: a turn of the chat → what is saved of it, as plain values that need no server.

Knows neither HTML nor JSON. Nothing of the session is included.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from vlm_demo.contracts import Check, Grounding, Memory, StageEvent, Timings, Token
from vlm_demo.errors import VlmDemoError
from vlm_demo.ui import pictures
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.tabs.inspect.map_options import MapOptions
from vlm_demo.words import bare, is_content_word

MAPS = 12  # words of an answer whose maps are saved, so that a long answer stays a small file


@dataclass(frozen=True)
class SavedMap:
    """Where the model looked as it wrote ``word``, over the picture of that number, as a data URI."""

    word: str
    picture: int
    image: str


@dataclass(frozen=True)
class SavedUpload:
    """A picture as uploaded: its file's name, its page or frame (None = it has only one), and the file in base64."""

    name: str
    page: int | None
    data: str


@dataclass(frozen=True)
class SavedTurn:
    """One question and its answer.

    Attributes:
        state: as in `ChatTurn`; ``problem`` is its sentence where it failed.
        pictures: data URIs of the question's pictures, shrunk as the chat shows them.
        uploads: the same as uploaded, so that another page can open and continue the conversation.
        model, precision: what gave the answer; empty where not known.
        maps: of the first ``MAPS`` content words, by the checkpoint's default method.
        stages: in the order in which they ran.
        replayed: of an answer that another model gave, what of it was replayed here, in words; else empty.
    """

    question: str
    answer: str
    state: str
    problem: str
    ocr: bool
    evidence_only: bool
    model: str
    precision: str
    pictures: tuple[str, ...]
    uploads: tuple[SavedUpload, ...]
    maps: tuple[SavedMap, ...]
    read: tuple[str, ...]
    tokens: tuple[Token, ...]
    checks: tuple[Check, ...]
    grounding: Grounding | None
    stages: tuple[StageEvent, ...]
    timings: Timings | None
    memory: Memory | None
    replayed: str = ""


def saved(turn: ChatTurn) -> SavedTurn:
    """What is saved of one turn; its maps are drawn from recorded attention, without a model."""
    answer = turn.answer
    return SavedTurn(
        question=turn.question,
        answer=turn.answer_text,
        state=turn.state,
        problem=turn.problem,
        ocr=turn.ocr,
        evidence_only=turn.evidence_only,
        model=turn.model if turn.given is None else turn.given_by,
        precision=turn.precision if turn.given is None else "",
        pictures=turn.previews,
        uploads=tuple(
            SavedUpload(name, page, base64.b64encode(content).decode())
            for name, page, content in zip(
                turn.names, turn.pages or (None,) * len(turn.names), turn.pictures, strict=True
            )
        ),
        maps=tuple(_maps(turn)),
        read=tuple(result.text for result in answer.ocrs) if answer else (),
        tokens=answer.tokens if answer else (),
        checks=answer.checks if answer else (),
        grounding=turn.grounding,
        stages=tuple(turn.stages),
        timings=answer.timings if answer else None,
        memory=answer.memory if answer else None,
        replayed=turn.replayed,
    )


def _maps(turn: ChatTurn) -> list[SavedMap]:
    answer = turn.answer
    if answer is None or answer.trace is None:
        return []
    words = [word for word in answer.words if is_content_word(bare(word.text))][:MAPS]
    found = []
    for word in words:
        for number, view in enumerate(answer.views):
            try:
                heat = answer.heatmap(word, image=number)
            except VlmDemoError:  # a method that is not free, or none at all
                return []
            drawn = pictures.preview(pictures.overlay(heat, view, MapOptions()))
            found.append(SavedMap(word.text, number, drawn))
    return found
