"""Remote request: what an engine is asked → the body of OpenAI's chat completions. Knows no network."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from typing import Any

from PIL import Image

from vlm_demo.contracts import OcrResult, View
from vlm_demo.contracts.engine import Request
from vlm_demo.pipeline.inputs import text_of
from vlm_demo.stages.llm import LONGEST_ANSWER
from vlm_demo.stages.prompt import EVIDENCE_RULE, ocr_part

SENT_PIXELS = 12_500_000  # a larger picture is sent smaller
LOSSLESS_BYTES = 4_000_000  # a PNG of more is sent as JPEG
JPEG_QUALITY = 92
# What begins a control string of one of the known families, in plain letters or in the wide ones that compatibility
# normalisation makes plain: <image>, <|im_end|>, </s>, <<SYS>>, [INST].
CONTROL = re.compile(
    r"[<\uff1c\ufe64](?=[^\s<>\uff1c\uff1e\ufe64\ufe65]{1,64}[>\uff1e\ufe65])"
    r"|[\[\uff3b](?=[/\uff0f]?[A-Z_\uff21-\uff3a\uff3f]{2,24}[\]\uff3d])"
)


def body(request: Request, views: Sequence[View], ocrs: Sequence[OcrResult], model: str) -> dict[str, Any]:
    """The request for ``model``, greedy unless something else is asked.

    Args:
        request: what is asked.
        views: its pictures, those of the history first.
        ocrs: what was read in the pictures of the question itself.
    """
    sampling = request.sampling
    sent: dict[str, Any] = {
        "model": model,
        "messages": messages(request, views, ocrs),
        "stream": True,
        "max_tokens": request.max_new_tokens or LONGEST_ANSWER,
        "temperature": 0,
    }
    if sampling.draws:
        sent["temperature"] = 1.0 if sampling.temperature is None else sampling.temperature
    wanted = {name: getattr(sampling, name) for name in ("top_p", "top_k", "seed", "repetition_penalty")}
    sent |= {name: value for name, value in wanted.items() if value is not None}
    if sampling.stop:
        sent["stop"] = list(sampling.stop)
    return sent


def messages(request: Request, views: Sequence[View], ocrs: Sequence[OcrResult]) -> list[dict[str, Any]]:
    """The conversation: the text as the prompt of a local model holds it, with pictures before it."""
    pictures = iter(views)
    conversation: list[dict[str, Any]] = []
    if request.system.strip():
        conversation.append({"role": "system", "content": broken_up(request.system)})
    for turn in request.history:
        conversation.append(_user(turn.question, [next(pictures) for _ in turn.images]))
        conversation.append({"role": "assistant", "content": broken_up(turn.answer)})
    rule = f"\n{EVIDENCE_RULE}" if request.evidence_only else ""
    conversation.append(_user(f"{ocr_part(text_of(ocrs))}{request.question}{rule}", list(pictures)))
    return conversation


def as_text(messages: Sequence[dict[str, Any]]) -> str:
    """The messages for a person to read; each picture is a mark."""
    lines = []
    for message in messages:
        parts = message["content"]
        parts = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
        lines.append(f"{message['role']}: " + "".join(part.get("text", "[picture] ") for part in parts))
    return "\n".join(lines)


def broken_up(text: str) -> str:
    """The text with a space inside whatever looks like a control string: a server takes those in a message as control,
    and there is no way to mark them as text."""
    return CONTROL.sub(lambda match: f"{match.group()} ", text)


def _user(text: str, views: Sequence[View]) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": data_uri(view.image)}} for view in views]
    return {"role": "user", "content": [*parts, {"type": "text", "text": broken_up(text)}]}


def data_uri(image: Image.Image) -> str:
    """A picture for the server: without loss where that is not too large."""
    if image.width * image.height > SENT_PIXELS:
        image = image.reduce(math.ceil(math.sqrt(image.width * image.height / SENT_PIXELS)))
    buffer, kind = io.BytesIO(), "png"
    image.save(buffer, "PNG")
    if buffer.tell() > LOSSLESS_BYTES:
        buffer, kind = io.BytesIO(), "jpeg"
        image.convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
