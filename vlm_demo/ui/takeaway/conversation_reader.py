"""Conversation reader: a saved conversation (JSON) → questions, pictures and answers, to be replayed.

The file is untrusted: only texts, toggles and picture files are taken from it, and all figures are computed anew.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, replace
from typing import Any

from vlm_demo.errors import BadQuestion
from vlm_demo.ui.takeaway.conversation_files import FORMAT, VERSION

MOST = 50  # turns
LONGEST = 100_000  # characters of a question or an answer
LONGEST_NAME = 100  # bytes of a file's name; its end, which says the format, stays
BIGGEST = 64 * 2**20  # bytes of a file
BEGINS = 400  # bytes within which a conversation names its format
BAD = "This file is no conversation that was saved here: choose one that was saved as JSON."
OLD = "This conversation was saved without its pictures, by an earlier version: save it again to open it."


@dataclass(frozen=True)
class ReadUpload:
    """A picture's file, its name, and its page or frame, from 1; None = it has only one."""

    name: str
    page: int | None
    content: bytes


@dataclass(frozen=True)
class ReadTurn:
    """A question and the answer that ``model`` gave."""

    question: str
    answer: str
    model: str
    ocr: bool
    evidence_only: bool
    uploads: tuple[ReadUpload, ...]


def is_conversation(content: bytes) -> bool:
    """Whether a file declares itself a saved conversation."""
    return content[:1] == b"{" and FORMAT.encode() in content[:BEGINS]


def read(content: bytes) -> list[ReadTurn]:
    """The turns that were answered, in their order.

    Raises:
        BadQuestion: the file can't be used; says what to do.
    """
    if len(content) > BIGGEST:
        raise BadQuestion(
            f"This conversation takes more than {BIGGEST >> 20} MB: open one with fewer or smaller pictures."
        )
    try:
        document = json.loads(content)
        turns = document["turns"]
        if document["format"] != FORMAT or document["version"] != VERSION or not isinstance(turns, list):
            raise ValueError
        found = [_turn(fields) for fields in turns[:MOST]]
    except BadQuestion:
        raise
    except (ValueError, KeyError, TypeError, RecursionError, UnicodeDecodeError, binascii.Error) as error:
        raise BadQuestion(BAD) from error
    answered, uploads = list[ReadTurn](), tuple[ReadUpload, ...]()
    for turn in found:
        uploads = turn.uploads or uploads
        if turn.answer.strip():
            # The pictures of a question without an answer are those of the question after it.
            answered.append(replace(turn, uploads=uploads))
            uploads = ()
    if not answered:
        raise BadQuestion("This conversation holds no answer: there is nothing to open.")
    if not answered[0].uploads:
        raise BadQuestion(OLD)
    return answered


def _turn(fields: dict[str, Any]) -> ReadTurn:
    if fields["pictures"] and "uploads" not in fields:
        raise BadQuestion(OLD)
    uploads = tuple(_upload(upload) for upload in fields.get("uploads", ()))
    return ReadTurn(
        _text(fields["question"]),
        _text(fields["answer"]),
        _text(fields["model"])[:100],
        fields["ocr"] is True,
        fields["evidence_only"] is True,
        uploads,
    )


def _upload(fields: dict[str, Any]) -> ReadUpload:
    page = fields["page"]
    if page is not None and (isinstance(page, bool) or not isinstance(page, int) or page < 1):
        raise ValueError
    return ReadUpload(_file_name(_text(fields["name"])), page, base64.b64decode(_whole(fields["data"]), validate=True))


def _file_name(text: str) -> str:
    """The last part of a path, as a name that every folder can hold."""
    printable = "".join(letter for letter in text.replace("\\", "/").rpartition("/")[2] if letter.isprintable())
    return printable.encode(errors="ignore")[-LONGEST_NAME:].decode(errors="ignore").strip(" .") or "picture"


def _text(value: Any) -> str:
    return _whole(value)[:LONGEST]


def _whole(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
