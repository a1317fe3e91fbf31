"""Chat messages: a conversation as transformers writes it → what `Pipeline.stream` is asked.

    [{"role": "system", "content": "Be brief."},
     {"role": "user", "content": [{"type": "image", "image": "scene.png"}, {"type": "text", "text": "What is it?"}]},
     {"role": "assistant", "content": "A star."},
     {"role": "user", "content": "Which colour?"}]

Reads no file but those that are handed over open, and knows no model. What an address names is fetched from the hosts
that were allowed, and refused otherwise.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vlm_demo.contracts import Turn
from vlm_demo.contracts.engine import Request
from vlm_demo.contracts.sampling import Sampling
from vlm_demo.errors import BadImage, BadQuestion
from vlm_demo.images.remote_pictures import NOTHING, RemotePictures, is_address

Message = Mapping[str, Any]
ROLES = ("system", "user", "assistant")
PICTURE_KEYS = ("image", "path", "url", "base64")  # where transformers' chat templates look for a picture
DATA_URI = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)


@dataclass(frozen=True)
class ParsedMessages:
    """A question with the turns before it.

    Attributes:
        system: the system message; empty where there is none.
        history: the turns before the question, oldest first.
        images: the question's pictures.
        question: its text.
    """

    system: str
    history: tuple[Turn, ...]
    images: tuple[Any, ...]
    question: str

    def request(self, max_new_tokens: int | None, sampling: Sampling) -> Request:
        """The question as an engine takes it."""
        return Request(
            self.images,
            self.question,
            max_new_tokens=max_new_tokens,
            history=self.history,
            system=self.system,
            sampling=sampling,
        )


def is_batch(messages: Sequence[Any]) -> bool:
    """Whether these are several conversations rather than the messages of one."""
    return bool(messages) and all(
        isinstance(message, Sequence) and not isinstance(message, str | bytes) for message in messages
    )


def read(messages: Sequence[Message], remote: RemotePictures = NOTHING) -> ParsedMessages:
    """Translate one conversation: perhaps a system message, then user and assistant in turn, the user last.

    Each content is a text, or a list of parts ``{"type": "text", "text": …}`` and ``{"type": "image", "image": …}``.
    Texts of a message are joined as they are; its pictures stand before its text in the prompt, wherever they are
    listed. A picture is a path, a file's bytes, a base64 data URI, a file object, a PIL image, or a uint8 NumPy array
    [height, width], [height, width, 3] (RGB) or [height, width, 4] (RGBA); the same one may come any number of times.
    So is an address on the web where ``remote`` allows its host; the same address is fetched once.

    Raises:
        BadQuestion: the messages have another form; says which message, counted from 1, and what it should be.
        BadImage: a picture can't be read.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence) or not messages:
        raise BadQuestion(
            'Messages are a list such as [{"role": "user", "content": "What is it?"}]: give at least one.'
        )
    files: dict[int | str, bytes] = {}
    parsed = [_message(message, number, files, remote) for number, message in enumerate(messages, 1)]
    system, first = "", 0
    if parsed[0][0] == "system":
        system, first = parsed[0][2], 1
    history: list[Turn] = []
    for number, (role, _, text) in enumerate(parsed[first:], first + 1):
        expected = "user" if (number - first) % 2 else "assistant"
        if role != expected:
            raise BadQuestion(
                f"Message {number} has the role {role} where {expected} belongs: after one system message at most, "
                "user and assistant take turns."
            )
        if role == "assistant":
            _, turn_images, turn_question = parsed[number - 2]
            history.append(Turn(turn_question, text, turn_images))
    role, images, question = parsed[-1]
    if role != "user":
        raise BadQuestion("The last message must be the user's: put the question there.")
    return ParsedMessages(system, tuple(history), images, question)


def _message(
    message: Any, number: int, files: dict[int | str, bytes], remote: RemotePictures
) -> tuple[str, tuple[Any, ...], str]:
    """Role, pictures and text of one message."""
    if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
        raise BadQuestion(f'Message {number} must be a dictionary with the keys "role" and "content".')
    role, content = message["role"], message["content"]
    if role not in ROLES:
        raise BadQuestion(f"Message {number} has the role {role!r}: choose one of {', '.join(ROLES)}.")
    if isinstance(content, str):
        return role, (), content
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        raise BadQuestion(f"The content of message {number} must be a text, or a list of parts.")
    images, texts = [], []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image" and (key := next((key for key in PICTURE_KEYS if part.get(key) is not None), None)):
            images.append(_picture(part[key], key == "base64", number, files, remote))
        else:
            raise BadQuestion(
                f'A part of message {number} is neither {{"type": "text", "text": …}} nor '
                '{"type": "image", "image": …}.'
            )
    if images and role != "user":
        raise BadQuestion(
            f"Message {number} is the {role}'s and holds a picture: give pictures to the user's messages."
        )
    return role, tuple(images), "".join(texts)


def _picture(given: Any, bare: bool, number: int, files: dict[int | str, bytes], remote: RemotePictures) -> Any:
    """A picture as `images.open` takes it. ``bare``: a base64 text without the head of a data URI. The bytes of file
    objects, which may not be read twice, and those of addresses are kept in ``files``."""
    if isinstance(given, str):
        head = DATA_URI.match(given)
        if bare or head:
            return decoded(given[head.end() if head else 0 :], f" in message {number}")
        if is_address(given):
            if given not in files:
                try:
                    files[given] = remote.fetch(given)
                except BadImage as error:
                    raise BadImage(f"In message {number}: {error}") from error
            return files[given]
        return given
    if isinstance(given, np.ndarray):
        return _from_array(given, number)
    if hasattr(given, "read") and not isinstance(given, Image.Image):
        if id(given) not in files:
            if hasattr(given, "seekable") and given.seekable():
                given.seek(0)
            files[id(given)] = given.read()
        return files[id(given)]
    return given


def decoded(text: str, where: str = "") -> bytes:
    """The file behind a picture's base64 text; ``where`` it stands, for the sentence.

    Raises:
        BadImage: it is damaged.
    """
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:  # the latter where it is not even ASCII
        raise BadImage(f"The base64 text of the picture{where} is damaged: encode it again.") from error


def _from_array(array: np.ndarray, number: int) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if (
        array.dtype != np.uint8
        or not array.size
        or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4)))
    ):
        shape = "×".join(map(str, array.shape))
        raise BadImage(
            f"The array in message {number} is {array.dtype} {shape}: give uint8, height × width, or with 3 (RGB) or "
            "4 (RGBA) channels behind."
        )
    return Image.fromarray(array)
