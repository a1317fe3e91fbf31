"""Remote server: where a chat server is, and one question to it, as pieces of its answer or one sentence.

The key goes into a header and nowhere else: no sentence and no log holds it. Redirects are not followed, so that it
reaches no other server.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import re
import threading
from collections.abc import AsyncIterator, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx2

from vlm_demo.contracts.engine import Cancelled
from vlm_demo.engines.remote_stream import ErrorSent, NotUnderstood, StreamChunk, StreamReader, error_in
from vlm_demo.errors import BadQuestion, BadSetting, Stopped, UnsupportedModel, VlmDemoError

KEY_VARIABLE = "VLM_DEMO_ENGINE_KEY"
SILENT_VARIABLE = "VLM_DEMO_ENGINE_SILENT"  # seconds in place of SILENT_SECONDS
CONNECT_SECONDS = 10.0
SILENT_SECONDS = 300.0  # without a byte: a long prompt with pictures takes a server on a processor minutes
LIST_SECONDS = 10.0
TAIL_SECONDS = 1.0  # for what may come behind the last word
POLL_SECONDS = 0.05
QUOTED = 200  # characters of a server's error message
# Parts of servers' error messages, for what the status alone does not distinguish.
TOO_LONG = re.compile(
    r"context.{0,20}(length|window|size)|exceed.{0,40}(context|tokens|length)|too long|too many tokens"
    r"|max(imum)?[ _](model[ _])?len",
    re.IGNORECASE,
)
NO_VISION = re.compile(r"image|vision|multi.?modal|mmproj|content (must|should) be a string", re.IGNORECASE)
NO_LOGPROBS = re.compile(r"log_?prob|logits_all", re.IGNORECASE)
NO_MODEL = re.compile(
    r"model.{0,80}(not found|does not exist|not loaded|not available)|(unknown|no such|invalid) model|pinned to",
    re.IGNORECASE,
)
SAYS_TOO_LONG = (400, 413, 422, 500)


class ServerProblem(VlmDemoError):
    """The server can't be reached, or gives no answer."""


class LogprobsRefused(ServerProblem):
    """The server gives no answer with probabilities; without them it may."""


@dataclass(frozen=True)
class Server:
    """An OpenAI-compatible server.

    Attributes:
        base: its address up to and with ``/v1``; see `server_at`.
        key: what it is sent as a bearer key; empty = none.
        silent_seconds: how long it may send nothing.
    """

    base: str
    key: str = field(default="", repr=False)
    silent_seconds: float = SILENT_SECONDS

    @property
    def place(self) -> str:
        """Host and port, for a person."""
        return urlsplit(self.base).netloc

    @property
    def _bypasses_proxies(self) -> bool:
        """Whether it is this machine, which no proxy of the environment has to do with."""
        host = urlsplit(self.base).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    def first_model(self) -> str:
        """The first of the models that the server lists.

        Raises:
            VlmDemoError: it can't be reached, or lists none; says what to do.
        """
        try:
            with httpx2.Client(
                timeout=LIST_SECONDS, headers=self._headers, trust_env=not self._bypasses_proxies
            ) as client:
                answer = client.get(f"{self.base}/models")
            if answer.status_code in (401, 403):
                raise self._refused(answer.status_code, answer.text)
            listed = answer.json()["data"] if answer.is_success else []
            names = [str(entry["id"]) for entry in listed if entry.get("id")]
        except httpx2.RequestError as error:
            raise self._unreached(error) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            names = []
        if not names:
            raise ServerProblem(f"The server at {self.place} lists no models: name one with --engine-model.")
        return names[0]

    def chat(self, body: dict[str, Any], cancelled: Cancelled | None = None) -> Generator[StreamChunk, None, None]:
        """Ask, and give the pieces of the answer as they come. Closing the generator closes the request.

        Raises:
            BadQuestion: the conversation is too long for the server's model.
            UnsupportedModel: that model takes no pictures.
            LogprobsRefused: it gives no probabilities, and ``body`` asks for them.
            ServerProblem: it can't be reached, refuses, or breaks off; says which, and what to do.
            Stopped: ``cancelled()`` turned True; the request is closed.
        """
        events: queue.SimpleQueue[StreamChunk | BaseException | None] = queue.SimpleQueue()
        loop = asyncio.new_event_loop()
        request_task = loop.create_task(self._ask(body, events))

        def run() -> None:
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(request_task)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            while True:
                if cancelled is not None and cancelled():
                    raise Stopped("Stopped.")
                try:
                    event = events.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if event is None:
                    return
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(request_task.cancel)
            thread.join(CONNECT_SECONDS)

    async def _ask(self, body: dict[str, Any], events: queue.SimpleQueue[StreamChunk | BaseException | None]) -> None:
        """The request, in a separate thread: only so can it be closed while the server is silent."""
        reader = StreamReader()
        timeout = httpx2.Timeout(self.silent_seconds, connect=CONNECT_SECONDS)
        try:
            async with (
                httpx2.AsyncClient(
                    timeout=timeout, headers=self._headers, trust_env=not self._bypasses_proxies
                ) as client,
                client.stream("POST", f"{self.base}/chat/completions", json=body) as answer,
            ):
                if not answer.is_success:
                    raise self._refused(answer.status_code, (await answer.aread()).decode("utf-8", "replace"))
                if answer.headers.get("content-type", "").startswith("application/json"):  # it does not stream
                    for piece in reader.chunk((await answer.aread()).decode("utf-8", "replace"), "message"):
                        events.put(piece)
                    reader.complete = reader.done = True
                lines = _lines(answer)
                while not reader.done:
                    async with asyncio.timeout(TAIL_SECONDS if reader.complete else None):
                        line = await anext(lines, None)
                    if line is None:
                        break
                    for piece in reader.line(line):
                        events.put(piece)
            if not reader.complete and not reader.begun:
                raise NotUnderstood
            events.put(None if reader.complete else self._dropped())
        except (httpx2.RequestError, TimeoutError) as error:
            if reader.complete:
                events.put(None)
            elif reader.begun and not isinstance(error, httpx2.TimeoutException):
                events.put(self._dropped())
            else:
                events.put(self._unreached(error))
        except ErrorSent as error:
            events.put(self._refused(0, json.dumps({"error": str(error)})))
        except NotUnderstood:
            events.put(ServerProblem(f"What the server at {self.place} sends is no chat answer: check --engine."))
        except Exception as error:  # raised where the answer is read
            events.put(error)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def _dropped(self) -> ServerProblem:
        return ServerProblem(f"The server at {self.place} broke off in the middle of its answer: ask again.")

    def _unreached(self, error: Exception) -> ServerProblem:
        if isinstance(error, httpx2.ConnectTimeout):
            return ServerProblem(f"No server answers at {self.place} within {CONNECT_SECONDS:.0f} s: check --engine.")
        if isinstance(error, httpx2.TimeoutException):
            return ServerProblem(
                f"The server at {self.place} has sent nothing for {self.silent_seconds:.0f} s: ask again, or ask for "
                "less."
            )
        if isinstance(error, httpx2.ConnectError):
            return ServerProblem(f"No server can be reached at {self.place}: start it, or correct --engine.")
        return ServerProblem(f"The connection to the server at {self.place} was lost before an answer came: ask again.")

    def _refused(self, status: int, text: str) -> VlmDemoError:
        """The sentence for a status that is no success."""
        try:
            message = error_in(json.loads(text))
        except ValueError:
            message = ""
        if status in (401, 403):
            sent = "refuses this key" if self.key else "asks for a key"
            return ServerProblem(f"The server at {self.place} {sent}: set {KEY_VARIABLE} to one that it knows.")
        if status == 404 or NO_MODEL.search(message):
            return ServerProblem(
                f"The server at {self.place} knows no such model, or serves no chat at this address: check "
                f"--engine-model and --engine{self._quoted(message)}."
            )
        if status == 429:
            return ServerProblem(f"The server at {self.place} is busy: ask again in a moment.")
        if status == 413 or status in (0, *SAYS_TOO_LONG) and TOO_LONG.search(message):
            return BadQuestion(
                f"The conversation is too long for the model at {self.place}: turn OCR off, shorten the question, use "
                "fewer pictures, or start a new chat."
            )
        if NO_LOGPROBS.search(message):
            return LogprobsRefused(f"The server at {self.place} gives no probabilities{self._quoted(message)}.")
        if NO_VISION.search(message):
            return UnsupportedModel(
                f"The model at {self.place} takes no pictures, or not these: serve one that sees"
                f"{self._quoted(message)}."
            )
        failed = f"failed with status {status}" if status else "failed"
        return ServerProblem(
            f"The server at {self.place} {failed}{self._quoted(message)}: see its own log, or ask again."
        )

    def _quoted(self, message: str) -> str:
        """A server's message, cut short, and without the key if it repeats it."""
        message = message.replace(self.key, "…") if self.key else message
        message = "".join(character if character.isprintable() else " " for character in message)
        return f" (it says: {message[:QUOTED]})" if message else ""


def patience() -> float:
    """Seconds that a server may send nothing, from the environment.

    Raises:
        BadSetting: the variable holds no such number.
    """
    text = os.environ.get(SILENT_VARIABLE, "").strip()
    if not text:
        return SILENT_SECONDS
    if not re.fullmatch(r"[1-9]\d{0,4}", text):
        raise BadSetting(f"{SILENT_VARIABLE} takes whole seconds, such as 300.")
    return float(text)


def server_at(address: str, key: str = "", silent_seconds: float = SILENT_SECONDS) -> Server:
    """The server at an address, which is taken with or without ``http://`` and ``/v1``.

    Raises:
        BadSetting: that is no address.
    """
    given = address.strip()
    if not re.match(r"https?://", given, re.IGNORECASE):
        given = f"http://{given}" if given and "://" not in given else ""
    try:
        parts = urlsplit(given)
        _ = parts.port
        known = bool(parts.hostname)
    except ValueError:
        known = False
    if not known or any(character.isspace() for character in given):
        raise BadSetting("--engine takes a server's address, such as http://127.0.0.1:8000/v1.")
    if "@" in parts.netloc:
        raise BadSetting(f"Leave name and password out of --engine, where logs show them: set {KEY_VARIABLE} instead.")
    path = re.sub(r"/chat/completions$", "", parts.path.rstrip("/"))
    if not re.search(r"/v\d+\w*$", path):
        path += "/v1"
    if key and not (key.isascii() and key.isprintable()):
        raise BadSetting(f"{KEY_VARIABLE} holds characters that no key can have: set it again.")
    return Server(f"{parts.scheme}://{parts.netloc}{path}", key, silent_seconds)


async def _lines(answer: httpx2.Response) -> AsyncIterator[str]:
    """The lines of a body as they come. A line ends at a line feed alone: what else ends one in a text (U+2028, U+0085,
    ...) may stand in JSON as it is."""
    rest = b""
    async for part in answer.aiter_bytes():
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace").rstrip("\r")
    if rest:
        yield rest.decode("utf-8", "replace").rstrip("\r")
