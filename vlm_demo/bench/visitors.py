"""Visitors: clients that each ask a server about different pictures, and compare each answer with the expected one.

They speak OpenAI's protocol or the page's own (`gradio_client`), and know nothing else about the server.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import httpx2
from PIL import Image, ImageDraw, ImageFont

from vlm_demo.errors import VlmDemoError

QUESTION = "Describe the picture."
MAX_TOKENS = 24  # tokens of an answer
RANDOM = 2.0  # a temperature at which answers are long, and as different as can be
IMAGE_SIDE = 256  # pixels
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "black", "brown")
SHAPES = ("circle", "square", "triangle")
TIMEOUT = 300.0  # seconds that a visitor waits for the next word
RETRY_STATUSES = (429, 503)  # statuses that ask a visitor to retry


@dataclass(frozen=True)
class VisitorReply:
    """One answer.

    Attributes:
        status: of HTTP; 0 where the connection broke.
        text: the answer, or the sentence that says why there is none.
        first_word: seconds to the first word; None where the answer was not streamed.
        seconds: to the end.
        cached_tokens, prompt_tokens: the prompt's tokens, and how many of them were cached; 0 where that is unknown.
        retry_after: after how many seconds the server asks the visitor to retry.
    """

    status: int
    text: str
    first_word: float | None
    seconds: float
    cached_tokens: int = 0
    prompt_tokens: int = 0
    retry_after: float = 1.0


@dataclass
class VisitorResults:
    """What all visitors received; ``wrong`` holds (expected, received), ``refusals`` the sentences that asked a visitor
    to retry."""

    replies: list[VisitorReply] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def retries(self) -> int:
        """How often a visitor was asked to retry."""
        return len(self.refusals)

    def add(self, reply: VisitorReply, expected: str | None) -> None:
        """Add a reply; ``expected`` is the answer without load, None = any will do."""
        with self.lock:
            if reply.status in RETRY_STATUSES:
                self.refusals.append(f"{reply.status}: {reply.text}")
            elif reply.status != 200:
                self.errors.append(f"{reply.status}: {reply.text}")
            else:
                self.replies.append(reply)
                if expected is not None and reply.text != expected:
                    self.wrong.append((expected, reply.text))


Ask = Callable[[str], VisitorReply]


def pictures(count: int) -> list[str]:
    """Data URIs of pictures, all different: two coloured shapes each."""
    kinds = [(shape, colour) for shape in SHAPES for colour in COLOURS]
    pairs = [(a, b) for a, b in itertools.permutations(kinds, 2) if a[1] != b[1]]
    step = max(1, len(pairs) // count)
    return [_uri(_drawn(*pairs[(number * step) % len(pairs)], number)) for number in range(count)]


def _drawn(first: tuple[str, str], second: tuple[str, str], number: int) -> Image.Image:
    image = Image.new("RGB", (IMAGE_SIDE, IMAGE_SIDE), "white")
    pen = ImageDraw.Draw(image)
    image.putpixel((number % IMAGE_SIDE, number // IMAGE_SIDE), (254, 254, 254))  # so that no two files are the same
    for (shape, colour), left in ((first, 20), (second, 140)):
        box = (left, 80, left + 96, 176)
        if shape == "circle":
            pen.ellipse(box, fill=colour)
        elif shape == "square":
            pen.rectangle(box, fill=colour)
        else:
            pen.polygon([(left, 176), (left + 48, 80), (left + 96, 176)], fill=colour)
    return image


def text_page(text: str) -> str:
    """The data URI of a page with a text on it."""
    image = Image.new("RGB", (1240, 1754), "white")
    lines = [text[at : at + 60] for at in range(0, len(text), 60)]
    ImageDraw.Draw(image).multiline_text((80, 80), "\n".join(lines), "black", ImageFont.load_default(28))
    return _uri(image)


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def seed(uri: str) -> int:
    """A seed that depends on the picture alone."""
    return crc32(uri.encode()) % 2**16


class OpenAiVisitor:
    """Asks at ``/v1`` of an address, and reads the stream. Above a ``temperature`` of 0 tokens are sampled, seeded by
    the picture: answers differ more, and are reproducible."""

    def __init__(
        self,
        address: str,
        model: str,
        question: str = QUESTION,
        temperature: float = 0,
        max_tokens: int = MAX_TOKENS,
        **extension: Any,
    ) -> None:
        self.model, self.question, self.temperature, self.extension = model, question, temperature, extension
        self.max_tokens = max_tokens
        self.client = httpx2.Client(base_url=address, timeout=TIMEOUT, trust_env=False)

    def body(self, uri: str) -> dict[str, Any]:
        """The request's JSON."""
        parts = [{"type": "text", "text": self.question}, {"type": "image_url", "image_url": {"url": uri}}]
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": parts}],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": seed(uri),
            "stream": True,
            "stream_options": {"include_usage": True},
            **({"vlm_demo": self.extension} if self.extension else {}),
        }

    def ask(self, uri: str, on_first_word: Callable[[], object] = lambda: None) -> VisitorReply:
        """Ask about a picture; ``on_first_word`` is called at the first word."""
        start = time.perf_counter()
        try:
            with self.client.stream("POST", "/v1/chat/completions", json=self.body(uri)) as response:
                if response.status_code != 200:
                    response.read()
                    retry_after = float(response.headers.get("retry-after", 1))
                    return VisitorReply(
                        response.status_code, _sentence(response), None, _since(start), retry_after=retry_after
                    )
                return self._read(response, start, on_first_word)
        except httpx2.HTTPError as error:
            return VisitorReply(0, type(error).__name__, None, _since(start))

    def _read(self, response: httpx2.Response, start: float, on_first_word: Callable[[], object]) -> VisitorReply:
        text, first_word = "", None
        usage: dict[str, Any] = {}
        for line in response.iter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                return VisitorReply(500, chunk["error"]["message"], first_word, _since(start))
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                if piece := choice["delta"].get("content"):
                    text += piece
                    if first_word is None:
                        first_word = _since(start)
                        on_first_word()
        if not usage:
            return VisitorReply(0, "The stream ended before its end.", first_word, _since(start))
        cached_tokens = usage["prompt_tokens_details"]["cached_tokens"]
        return VisitorReply(200, text, first_word, _since(start), cached_tokens, usage["prompt_tokens"])


class PageVisitor:
    """Asks the page's endpoint with `gradio_client`; ``temperature`` as in `OpenAiVisitor`."""

    def __init__(self, address: str, temperature: float = 0) -> None:
        from gradio_client import Client

        self.temperature = temperature
        self.client = Client(address, verbose=False)

    def ask(self, uri: str) -> VisitorReply:
        """Ask about a picture."""
        start = time.perf_counter()
        try:
            settings = {"max_tokens": MAX_TOKENS, "temperature": self.temperature, "seed": seed(uri)}
            answer = self.client.predict(uri, QUESTION, **settings, api_name="/ask")
        except Exception as error:  # the client raises many kinds, with the server's sentence
            status = 429 if "try again" in str(error) else 500
            return VisitorReply(status, str(error), None, _since(start))
        return VisitorReply(200, str(answer), None, _since(start))


def visit(
    asks: Sequence[Ask],
    uris: Sequence[Sequence[str]],
    expected: dict[str, str],
    seconds: float,
    results: VisitorResults | None = None,
    ended: threading.Event | None = None,
) -> VisitorResults:
    """Let visitors ask at the same time, each without a pause about its pictures in turn, for so many seconds.

    Args:
        asks: one a visitor.
        uris: each visitor's pictures.
        expected: picture → the answer without load; a picture that is missing may have any.
        results: to be added to.
        ended: set to end before.
    """
    results, ended, deadline = results or VisitorResults(), ended or threading.Event(), time.monotonic() + seconds

    def keep_asking(ask: Ask, visitor_uris: Sequence[str]) -> None:
        for uri in itertools.cycle(visitor_uris):
            if time.monotonic() > deadline or ended.is_set():
                return
            reply = ask(uri)
            results.add(reply, expected.get(uri))
            if reply.status in RETRY_STATUSES:
                ended.wait(min(reply.retry_after, max(0.0, deadline - time.monotonic())))

    threads = [threading.Thread(target=keep_asking, args=pair) for pair in zip(asks, uris, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@contextmanager
def other_visitors(address: str, model: str) -> Iterator[VisitorResults]:
    """Two visitors who ask without a pause until the block ends; their answers have to be those from before it. Yields
    what they receive, which is complete after the block.

    Raises:
        VlmDemoError: they get no answers before the block.
    """
    uris = [pictures(4)[:2], pictures(4)[2:]]
    asks = [OpenAiVisitor(address, model, temperature=RANDOM).ask for _ in uris]
    replies = {uri: ask(uri) for ask, visitor_uris in zip(asks, uris, strict=True) for uri in visitor_uris}
    refused = next((reply for reply in replies.values() if reply.status != 200), None)
    if refused:
        raise VlmDemoError(f"No answer came before the fault: {refused.status}: {refused.text}")
    expected = {uri: reply.text for uri, reply in replies.items()}
    results, ended = VisitorResults(), threading.Event()
    thread = threading.Thread(target=visit, args=(asks, uris, expected, math.inf, results, ended))
    thread.start()
    try:
        yield results
    finally:
        ended.set()
        thread.join()


def _since(start: float) -> float:
    return time.perf_counter() - start


def _sentence(response: httpx2.Response) -> str:
    try:
        return response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
