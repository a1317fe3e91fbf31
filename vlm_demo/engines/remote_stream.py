"""Remote stream: the lines of a chat server's answer → pieces of text. Knows no network and no engine.

data: {"choices": [{"delta": {"content": "a star"}, "finish_reason": null}]}
: ping
data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}
data: [DONE]
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

DONE = "[DONE]"
FULL = "length"  # the reason to finish of an answer that has as many tokens as it may have


class NotUnderstood(ValueError):
    """What the server sent is no part of a chat answer."""


class ErrorSent(ValueError):
    """The server reports an error in the place of an answer; holds its words."""


@dataclass(frozen=True)
class StreamChunk:
    """A bit of an answer.

    Attributes:
        text: what it adds.
        probability: 0..1, of the one token that it is; None where the server does not report it.
        full: the server ended the answer here, because no more tokens were allowed; its ``text`` is empty.
    """

    text: str
    probability: float | None = None
    full: bool = False


class StreamReader:
    """Reads the lines of a stream as they come. ``complete`` turns True with a reason to finish, or ``[DONE]``; some
    servers send only one of them. ``done`` turns True where nothing more can come, ``begun`` with the first chunk."""

    def __init__(self) -> None:
        self.complete = self.done = self.begun = False

    def line(self, line: str) -> list[StreamChunk]:
        """The pieces that a line holds; comments, other fields of server-sent events and empty lines hold none.

        Raises:
            NotUnderstood: it is no part of an answer.
            ErrorSent: the server reports an error.
        """
        field, _, value = line.partition(":")
        value = value.strip()
        if field != "data" or not value:
            return []
        if value == DONE:
            self.complete = self.done = True
            return []
        return self.chunk(value, "delta")

    def chunk(self, text: str, part: str) -> list[StreamChunk]:
        """The pieces of one JSON object, whose choice holds them as its ``delta`` or, in a whole answer, ``message``.

        Raises:
            NotUnderstood, ErrorSent: as `line` does.
        """
        try:
            chunk = json.loads(text)
        except ValueError as error:
            raise NotUnderstood from error
        if problem := error_in(chunk):
            raise ErrorSent(problem)
        choices = chunk.get("choices") if isinstance(chunk, dict) else None
        if not isinstance(choices, list):
            raise NotUnderstood
        self.begun = True
        if not choices:  # the numbers of tokens
            return []
        choice = choices[0]
        value = choice.get(part) if isinstance(choice, dict) else None
        if value is not None and not isinstance(value, dict):
            raise NotUnderstood
        reason = choice.get("finish_reason") if isinstance(choice, dict) else None
        if reason:
            self.complete = True
        end = [StreamChunk("", full=True)] if reason == FULL else []
        content = (value or {}).get("content")
        if not isinstance(content, str) or not content:  # a role, or a model's thoughts
            return end
        return _with_probabilities(content, choice.get("logprobs")) + end


def error_in(body: Any) -> str:
    """A server's error message, from any of the usual formats; empty where it reports no error."""
    if not isinstance(body, dict):
        return ""
    reason = body.get("error") or body.get("detail")
    if isinstance(reason, list):  # FastAPI's, one entry a field
        reason = "; ".join(
            str(problem.get("msg", problem) if isinstance(problem, dict) else problem) for problem in reason
        )
    if isinstance(reason, dict):
        reason = reason.get("message") or reason
    if not reason and body.get("object") == "error":
        reason = body.get("message") or "error"
    return " ".join(str(reason).split()) if reason else ""


def _with_probabilities(content: str, logprobs: Any) -> list[StreamChunk]:
    """One piece a token, where the server lists them and they join to the text; else one without a probability."""
    listed = logprobs.get("content") if isinstance(logprobs, dict) else None
    try:
        tokens = [(str(entry["token"]), math.exp(min(0.0, float(entry["logprob"])))) for entry in listed or ()]
    except (KeyError, TypeError, ValueError):
        tokens = []
    if "".join(text for text, _ in tokens) == content and all(text for text, _ in tokens):
        return [StreamChunk(text, probability) for text, probability in tokens]
    return [StreamChunk(content, tokens[0][1] if len(tokens) == 1 else None)]
