"""Picture key: a request's body → a key for its first picture, so that all questions about it go to one replica.

That replica caches the picture's patch features and the KV cache of the prompt as far as the picture. Only a key is
made here: whether the request can be answered is for the replica to say.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes


def picture_key(body: bytes) -> str | None:
    """The key of the first picture of a body of ``/v1/chat/completions``: 32 hexadecimal digits, equal for equal files
    however they are encoded; None where there is no picture, or the body can't be parsed."""
    try:
        url = next(_pictures(json.loads(body)), None)
    except (ValueError, RecursionError):
        return None
    return None if url is None else hashlib.sha256(_content(url)).hexdigest()[:32]


def _pictures(body: Any) -> Iterator[str]:
    """The address of every picture, in order."""
    messages = body.get("messages") if isinstance(body, dict) else None
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            image = part.get("image_url") if isinstance(part, dict) else None
            url = image.get("url") if isinstance(image, dict) else None
            if isinstance(url, str):
                yield url


def _content(url: str) -> bytes:
    """The file within a data address; of any other address, the address itself."""
    head, comma, data = url.partition(",")
    if not comma or head[:5].lower() != "data:":
        return url.encode("utf-8", "surrogatepass")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(data)
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError):
        return data.encode("utf-8", "surrogatepass")
