"""Visitors: programs that ask a server about pictures of their own, and hold each answer against that given alone.

They speak OpenAI's protocol or the page's own (`gradio_client`), and know nothing else of what they ask.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import httpx2
from PIL import Image, ImageDraw, ImageFont

QUESTION = "Describe the picture."
LONGEST = 24  # tokens of an answer
SIDE = 256  # pixels
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "black", "brown")
SHAPES = ("circle", "square", "triangle")
PATIENCE = 300.0  # seconds that a visitor waits for a word
AWAY = (429, 503)  # statuses by which a visitor is asked to come again


@dataclass(frozen=True)
class VisitorReply:
    """One answer.

    Attributes:
        status: of HTTP; 0 where the connection broke.
        text: the answer, or the sentence that says why there is none.
        first: seconds to the first word; None where it did not come apart from the rest.
        seconds: to the end.
        known, prompt: of the prompt's tokens, those that were remembered; 0 where that is not told.
        again: after how many seconds the server asks the visitor to come again.
    """

    status: int
    text: str
    first: float | None
    seconds: float
    known: int = 0
    prompt: int = 0
    again: float = 1.0


@dataclass
class Heard:
    """What visitors heard together; ``wrong`` holds (expected, heard)."""

    replies: list[VisitorReply] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    away: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, reply: VisitorReply, expected: str | None) -> None:
        """One more; ``expected`` is the answer that was given alone, None = any will do."""
        with self.lock:
            if reply.status in AWAY:
                self.away += 1
            elif reply.status != 200:
                self.errors.append(f"{reply.status}: {reply.text}")
            else:
                self.replies.append(reply)
                if expected is not None and reply.text != expected:
                    self.wrong.append((expected, reply.text))


Ask = Callable[[str], VisitorReply]


def pictures(count: int) -> list[str]:
    """Data addresses of pictures, all different: two coloured shapes each."""
    kinds = [(shape, colour) for shape in SHAPES for colour in COLOURS]
    pairs = [(a, b) for a, b in itertools.permutations(kinds, 2) if a[1] != b[1]]
    step = max(1, len(pairs) // count)
    return [_uri(_drawn(*pairs[(number * step) % len(pairs)], number)) for number in range(count)]


def _drawn(first: tuple[str, str], second: tuple[str, str], number: int) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(image)
    image.putpixel((number % SIDE, number // SIDE), (254, 254, 254))  # so that no two files are the same
    for (shape, colour), left in ((first, 20), (second, 140)):
        box = (left, 80, left + 96, 176)
        if shape == "circle":
            pen.ellipse(box, fill=colour)
        elif shape == "square":
            pen.rectangle(box, fill=colour)
        else:
            pen.polygon([(left, 176), (left + 48, 80), (left + 96, 176)], fill=colour)
    return image


def written(text: str) -> str:
    """The data address of a page with a text on it."""
    image = Image.new("RGB", (1240, 1754), "white")
    lines = [text[at : at + 60] for at in range(0, len(text), 60)]
    ImageDraw.Draw(image).multiline_text((80, 80), "\n".join(lines), "black", ImageFont.load_default(28))
    return _uri(image)


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def seed(uri: str) -> int:
    """A picture's own."""
    return crc32(uri.encode()) % 2**16


class OpenAiVisitor:
    """Asks at ``/v1`` of an address, and reads the stream. Above a ``temperature`` of 0 tokens are drawn, by a seed of
    each picture's own: answers differ more, and are the same each time."""

    def __init__(
        self, address: str, model: str, question: str = QUESTION, temperature: float = 0, **extension: Any
    ) -> None:
        self.model, self.question, self.temperature, self.extension = model, question, temperature, extension
        self.client = httpx2.Client(base_url=address, timeout=PATIENCE, trust_env=False)

    def body(self, uri: str) -> dict[str, Any]:
        """What is sent."""
        parts = [{"type": "text", "text": self.question}, {"type": "image_url", "image_url": {"url": uri}}]
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": parts}],
            "max_tokens": LONGEST,
            "temperature": self.temperature,
            "seed": seed(uri),
            "stream": True,
            "stream_options": {"include_usage": True},
            **({"vlm_demo": self.extension} if self.extension else {}),
        }

    def ask(self, uri: str, begun: Callable[[], object] = lambda: None) -> VisitorReply:
        """Ask about a picture; ``begun`` is called at the first word."""
        began = time.perf_counter()
        try:
            with self.client.stream("POST", "/v1/chat/completions", json=self.body(uri)) as response:
                if response.status_code != 200:
                    response.read()
                    again = float(response.headers.get("retry-after", 1))
                    return VisitorReply(response.status_code, _sentence(response), None, _since(began), again=again)
                return self._read(response, began, begun)
        except httpx2.HTTPError as error:
            return VisitorReply(0, type(error).__name__, None, _since(began))

    def _read(self, response: httpx2.Response, began: float, begun: Callable[[], object]) -> VisitorReply:
        text, first = "", None
        usage: dict[str, Any] = {}
        for line in response.iter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                return VisitorReply(500, chunk["error"]["message"], first, _since(began))
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                if piece := choice["delta"].get("content"):
                    text += piece
                    if first is None:
                        first = _since(began)
                        begun()
        if not usage:
            return VisitorReply(0, "The stream ended before its end.", first, _since(began))
        known = usage["prompt_tokens_details"]["cached_tokens"]
        return VisitorReply(200, text, first, _since(began), known, usage["prompt_tokens"])


class PageVisitor:
    """Asks the page's own endpoint, by its own client; ``temperature`` as in `OpenAiVisitor`."""

    def __init__(self, address: str, temperature: float = 0) -> None:
        from gradio_client import Client

        self.temperature = temperature
        self.client = Client(address, verbose=False)

    def ask(self, uri: str) -> VisitorReply:
        """Ask about a picture."""
        began = time.perf_counter()
        try:
            chosen = {"max_tokens": LONGEST, "temperature": self.temperature, "seed": seed(uri)}
            told = self.client.predict(uri, QUESTION, **chosen, api_name="/ask")
        except Exception as error:  # the client raises many kinds, with the server's sentence
            status = 429 if "try again" in str(error) else 500
            return VisitorReply(status, str(error), None, _since(began))
        return VisitorReply(200, str(told), None, _since(began))


def visit(asks: Sequence[Ask], uris: Sequence[Sequence[str]], alone: dict[str, str], seconds: float) -> Heard:
    """Let visitors ask at the same time, each without a pause about its own pictures in turn, for so many seconds.

    Args:
        asks: one a visitor.
        uris: each visitor's pictures.
        alone: picture → the answer that was given alone; a picture that it lacks may have any.
    """
    heard, until = Heard(), time.monotonic() + seconds

    def stay(ask: Ask, own: Sequence[str]) -> None:
        for uri in itertools.cycle(own):
            if time.monotonic() > until:
                return
            reply = ask(uri)
            heard.add(reply, alone.get(uri))
            if reply.status in AWAY:
                time.sleep(min(reply.again, max(0.0, until - time.monotonic())))

    threads = [threading.Thread(target=stay, args=pair) for pair in zip(asks, uris, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return heard


def _since(began: float) -> float:
    return time.perf_counter() - began


def _sentence(response: httpx2.Response) -> str:
    try:
        return response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
