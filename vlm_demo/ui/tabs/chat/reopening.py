"""Reopening: a saved conversation among the uploads → turns whose answers the model in service replays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vlm_demo.contracts import Answer, Replay
from vlm_demo.contracts.engine import Engine
from vlm_demo.images.open import Page, open_image
from vlm_demo.ui import pictures
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.takeaway import conversation_reader


def saved_in(paths: list[str]) -> bytes | None:
    """The first of some uploads that is a saved conversation; None where none is."""
    for path in paths:
        try:
            content = Path(path).read_bytes()
        except OSError:  # it is refused where the pictures are opened
            continue
        if conversation_reader.is_conversation(content):
            return content
    return None


def turns_of(content: bytes) -> list[ChatTurn]:
    """The turns of a saved conversation, whose answers wait to be replayed.

    Raises:
        BadQuestion, BadImage: the file, or a picture in it, can't be used.
    """
    turns = []
    for saved in conversation_reader.read(content):
        opened = [
            open_image(upload.content if upload.page is None else Page(upload.content, upload.page))
            for upload in saved.uploads
        ]
        turns.append(
            ChatTurn(
                saved.question,
                saved.ocr,
                saved.evidence_only,
                tuple(upload.content for upload in saved.uploads),
                tuple(upload.name for upload in saved.uploads),
                tuple(pictures.preview(picture) for picture, _notes in opened),
                pages=tuple(upload.page for upload in saved.uploads),
                given=saved.answer,
                given_by=saved.model,
            )
        )
    return turns


def read_here(engine: Engine, answer: Answer, by: str) -> Answer:
    """An answer that ``by`` gave and this engine has replayed, marked as such."""
    likeliest = [token.likeliest for token in answer.tokens if token.likeliest is not None]
    agreement = sum(likeliest) / len(likeliest) if likeliest else None
    reader = answer.replay.by if answer.replay else engine.name
    return replace(answer, model=by or "another model", replay=Replay(reader, agreement, ()))
