"""Chat response: an `Outcome` → OpenAI's objects, whole or in chunks. Knows no network."""

from __future__ import annotations

import base64
import math
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vlm_demo.api.chat_request import ChatRequest
from vlm_demo.api.model_requests import Map, RequestOutcome
from vlm_demo.checks import checklist
from vlm_demo.contracts import Answer, Token
from vlm_demo.contracts.events import Alternative

IMPOSSIBLE = -9999.0  # OpenAI's logarithm of a probability of 0


@dataclass
class Reply:
    """The objects of one answer, which share their id and time. ``sent`` is the text that was sent in chunks,
    ``tokens_sent`` the number of its tokens."""

    chat_request: ChatRequest
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    sent: str = ""
    tokens_sent: int = 0

    def whole(self, outcome: RequestOutcome) -> dict[str, Any]:
        """The answer in one object."""
        answer = outcome.answer
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": answer.text, "refusal": None},
            "logprobs": self._logprobs(answer.written),
            "finish_reason": self.finish_reason(outcome),
        }
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": usage(outcome),
            **({"vlm_demo": extension(outcome)} if self.chat_request.extended else {}),
        }

    def first(self) -> dict[str, Any]:
        """The chunk before all text."""
        return self._chunk({"role": "assistant", "content": ""}, [])

    def more(self, text: str, tokens: Sequence[Token]) -> dict[str, Any] | None:
        """The chunk with what is new in ``text``, the answer so far, written by ``tokens``; None where nothing
        can be sent yet: the possible beginning of a stop sequence is held back, and so is an incomplete character."""
        ready = text.rstrip("\ufffd")
        ready = ready[: len(ready) - partial_stop(ready, self.chat_request.request.sampling.stop)]
        if len(ready) <= len(self.sent) or not ready.startswith(self.sent):
            return None
        count, length = 0, 0
        while count < len(tokens) and length + len(tokens[count].text) <= len(ready):
            length += len(tokens[count].text)
            count += 1
        return self._next(ready, tokens[:count])

    def last(self, outcome: RequestOutcome) -> list[dict[str, Any]]:
        """The chunks at the end: the rest of the text, why it ended, and the numbers of tokens if requested."""
        answer = outcome.answer
        chunks = []
        if len(answer.text) > len(self.sent) and answer.text.startswith(self.sent):
            chunks.append(self._next(answer.text, answer.written))
        end = self._chunk({}, [], self.finish_reason(outcome))
        chunks.append(end | ({"vlm_demo": extension(outcome)} if self.chat_request.extended else {}))
        if self.chat_request.usage:
            chunks.append({**self._head("chat.completion.chunk"), "choices": [], "usage": usage(outcome)})
        return chunks

    def finish_reason(self, outcome: RequestOutcome) -> str:
        """``length`` where the answer is not whole: it filled its limit or the context, or was cut because it repeated
        itself."""
        return "length" if outcome.answer.full or outcome.answer.cut else "stop"

    def _next(self, text: str, tokens: Sequence[Token]) -> dict[str, Any]:
        fresh, self.sent = text[len(self.sent) :], text
        new, self.tokens_sent = tokens[self.tokens_sent :], max(self.tokens_sent, len(tokens))
        return self._chunk({"content": fresh}, new)

    def _chunk(self, delta: dict[str, str], tokens: Sequence[Token], reason: str | None = None) -> dict[str, Any]:
        logprobs = self._logprobs(tokens) if tokens else None
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        chunk = {**self._head("chat.completion.chunk"), "choices": [choice]}
        return chunk | ({"usage": None} if self.chat_request.usage else {})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.chat_request.model}

    def _logprobs(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if not self.chat_request.logprobs or not any(token.probability for token in tokens):  # the engine gives none
            return None
        content = [
            {
                "token": token.text,
                "logprob": math.log(token.probability) if token.probability > 0 else IMPOSSIBLE,
                "bytes": list(token.text.encode("utf-8", "replace")),
                "top_logprobs": [_alternative(other) for other in token.alternatives],
            }
            for token in tokens
        ]
        return {"content": content, "refusal": None}


def _alternative(other: Alternative) -> dict[str, Any]:
    """An alternative token; its bytes where it is whole characters."""
    whole = "\ufffd" not in other.text
    return {
        "token": other.text,
        "logprob": max(other.logprob, IMPOSSIBLE),
        "bytes": list(other.text.encode("utf-8", "replace")) if whole else None,
    }


def partial_stop(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of ``text`` may be the beginning of a stop sequence."""
    lengths = (n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n]))
    return max(lengths, default=0)


def usage(outcome: RequestOutcome) -> dict[str, Any]:
    """The numbers of tokens; image tokens count among the prompt's."""
    prompt = outcome.answer.prompt
    return {
        "prompt_tokens": len(prompt.ids),
        "completion_tokens": outcome.written,
        "total_tokens": len(prompt.ids) + outcome.written,
        "prompt_tokens_details": {"cached_tokens": outcome.known, "image_tokens": prompt.image_tokens},
    }


def extension(outcome: RequestOutcome) -> dict[str, Any]:
    """What this server returns besides OpenAI's answer."""
    answer = outcome.answer
    return {
        "seconds": {**dict(outcome.stages), "total": answer.timings.total},
        "ocr": answer.ocr.text if answer.ocr else None,
        "notes": [note for view in answer.views for note in view.notes],
        "cut": answer.cut,
        "replay": replayed(answer),
        "heatmaps": [as_json(drawn) for drawn in outcome.maps],
        "grounding": asdict(outcome.grounding) if outcome.grounding else None,
        "grounding_problem": outcome.no_grounding or None,
        "checklist": None if outcome.checks is None else checklist.as_json(outcome.checks),
    }


def replayed(answer: Answer) -> dict[str, Any] | None:
    """Of an answer that a server wrote, which local model replayed it by teacher forcing: maps and probabilities are
    that model's. None where the same model wrote it."""
    if answer.replay is None:
        return None
    replay = answer.replay
    return {"by": replay.by or None, "agreement": replay.agreement, "problem": replay.problem or None}


def checked(outcome: RequestOutcome) -> dict[str, Any]:
    """An answer's text, and the checklist on it."""
    replay = {"replay": replayed(outcome.answer)} if outcome.answer.replay else {}
    return {"text": outcome.answer.text, **replay, **checklist.as_json(outcome.checks or ())}


def explained(outcome: RequestOutcome) -> dict[str, Any]:
    """A given answer, and its explanation by the model."""
    return {
        "text": outcome.answer.text,
        "tokens": [{"text": token.text, "probability": token.probability} for token in outcome.answer.tokens],
        "heatmaps": [as_json(drawn) for drawn in outcome.maps],
        "grounding": asdict(outcome.grounding) if outcome.grounding else None,
        "grounding_problem": outcome.no_grounding or None,
        **({"replay": replayed(outcome.answer)} if outcome.answer.replay else {}),
    }


def as_json(drawn: Map) -> dict[str, Any]:
    """A heatmap as a grey PNG of the upload's size, black = 0, white = 1."""
    png = drawn.png and f"data:image/png;base64,{base64.b64encode(drawn.png).decode()}"
    return {"word": drawn.word, "image": drawn.image, "png": png, "problem": drawn.problem or None}
