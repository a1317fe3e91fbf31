"""Front: the one address → a replica's answer, forwarded as it comes. Knows no model, nor how replicas are reached.

It admits as many requests as it has places, keys them by their picture, counts, and retries once where a replica
died before its first word. Questions and answers pass through it unread, but for the picture's key.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from vlm_demo.api import problems
from vlm_demo.api.access import Access
from vlm_demo.api.openai_server import METHODS, PATH
from vlm_demo.api.problems import Refused
from vlm_demo.api.request_bodies import RequestBodies
from vlm_demo.errors import VlmDemoError
from vlm_demo.serving.admission import Admission, Full
from vlm_demo.serving.in_process import Headers
from vlm_demo.serving.metrics import CONTENT_TYPE, Facts, Metrics
from vlm_demo.serving.picture_key import picture_key

BEGUN, FACTS = "vlm_demo.begun", "vlm_demo.facts"  # messages of a replica besides those of ASGI
RUNNING, DELETING = "RUNNING", "DELETING"  # Ray's statuses
ENGINES = "engine-"  # an engine application's name: this, and a number that grows with each switch of models
MAX_ATTEMPTS = 2
DIED = "The replica that answered has died: ask again."
NO_MODEL = "No model is ready yet: try again in a moment."
PASSED_ON = (b"content-type", b"accept")


class ReplicaDied(VlmDemoError):
    """A replica ended before its answer did."""


class TooMany(VlmDemoError):
    """Too many requests wait for a replica."""


@dataclass(frozen=True)
class ForwardedRequest:
    """A request as a replica receives it; ``key`` identifies its picture, None = any replica will do."""

    key: str | None
    method: str
    path: str
    headers: Headers
    body: bytes


class Replicas(Protocol):
    """All replicas of one model."""

    def ask(self, forwarded: ForwardedRequest) -> AsyncGenerator[Message]:
        """Have one replica answer; closing the generator ends its work.

        Yields:
            ``BEGUN`` when a replica has taken the request up, the messages of ASGI, ``FACTS`` with ``facts``.
        Raises:
            ReplicaDied: the replica ended before its answer did.
            TooMany: too many requests wait already.
        """


class Front:
    """Answers programs through ``replicas``, which may be replaced at any time: a request ends where it began."""

    def __init__(self, access: Access, admission: Admission, metrics: Metrics, affinity: bool = True) -> None:
        self.access, self.admission, self.metrics, self.affinity = access, admission, metrics, affinity
        self.replicas: Replicas | None = None
        self.bodies = RequestBodies()
        self.working = 0
        self.users: dict[int, int] = {}  # id of the replicas → how many requests they hold

    def application(self) -> Starlette:
        """All routes that are served."""
        return Starlette(
            routes=[
                Route("/healthz", self.health),
                Route("/metrics", self.numbers),
                Route(PATH + "/{rest:path}", _ForwardingApp(self), methods=METHODS),
            ]
        )

    async def health(self, _: Request) -> Response:
        """200 where a model is ready, else 503."""
        ready = self.replicas is not None and not self.admission.closed
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def numbers(self, request: Request) -> Response:
        """The metrics, for Prometheus, which needs the key too."""
        try:
            self.access.admit(request.headers)
        except Refused as refused:
            return problems.response(refused)
        admission = self.admission
        text = self.metrics.text(max(0, admission.open - self.working), self.working, admission.places)
        return Response(text, media_type=CONTENT_TYPE)

    def open_requests(self, replicas: Replicas) -> int:
        """How many requests these replicas still hold."""
        return self.users.get(id(replicas), 0)

    async def answers(self, forwarded: ForwardedRequest) -> AsyncGenerator[Message]:
        """The messages of ASGI. The first is held until the second, so that an unstreamed answer comes whole or not."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            replicas, started, start = self.replicas, False, None
            if replicas is None:
                raise VlmDemoError(NO_MODEL)
            try:
                async with aclosing(self._once(replicas, forwarded)) as messages:
                    async for message in messages:
                        if message["type"] == "http.response.start":
                            start = message
                            continue
                        if start is not None:
                            yield start
                        started, start = True, None
                        yield message
                return
            except ReplicaDied:
                if started or attempt == MAX_ATTEMPTS:
                    raise

    async def _once(self, replicas: Replicas, forwarded: ForwardedRequest) -> AsyncGenerator[Message]:
        started = 0
        self.users[id(replicas)] = self.open_requests(replicas) + 1
        try:
            async with aclosing(replicas.ask(forwarded)) as messages:
                async for message in messages:
                    if message["type"] == FACTS:
                        self.metrics.record(Facts(**message["facts"]))
                    elif message["type"] != BEGUN:
                        yield message
                    elif not started:
                        started = 1
                        self.working += 1
        finally:
            self.working -= started
            self.users[id(replicas)] -= 1
            if not self.users[id(replicas)]:
                del self.users[id(replicas)]


class _ForwardingApp:
    """The ASGI application that forwards a request and its answer; where the client disconnects, its work ends."""

    def __init__(self, front: Front) -> None:
        self.front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(self.front, Request(scope, receive), send)
        with suppress(ClientDisconnect):
            await exchange.run()


class _Exchange:
    """One request and its answer: the ``status`` that was sent, when the ``first`` of a stream was, and whether the
    answer is ``complete``."""

    def __init__(self, front: Front, request: Request, send: Send) -> None:
        self.front, self.request, self._send = front, request, send
        self.began = monotonic()
        self.status: int | None = None
        self.streams = self.complete = False
        self.first: float | None = None

    async def run(self) -> None:
        front = self.front
        try:
            front.access.admit(self.request.headers)
            with front.admission.place():
                await self._answer()
        except ClientDisconnect:
            self.status = 499  # for the metrics, whatever has been sent
            raise
        except TooMany:
            await self._send_error(front.admission.full())
        except Exception as error:
            await self._send_error(error)
        finally:
            if self.status is not None:
                front.metrics.ended(self.status, self.first, monotonic() - self.began)

    async def _answer(self) -> None:
        request, posts = self.request, self.request.method == "POST"
        body = await self.front.bodies.read(request) if posts else b""
        key = await asyncio.to_thread(picture_key, body) if self.front.affinity and body else None
        headers = [(name, value) for name, value in request.headers.raw if name in PASSED_ON]
        forwarded = ForwardedRequest(key, request.method, request.url.path, headers, body)
        forwarding = asyncio.ensure_future(self._forward(forwarded))
        disconnecting = asyncio.ensure_future(self._disconnected())
        try:
            await asyncio.wait({forwarding, disconnecting}, return_when=asyncio.FIRST_COMPLETED)
            if not forwarding.done() and not self.complete:
                raise ClientDisconnect
            await forwarding  # what the replica reports of an answer comes after it
        finally:
            for task in (forwarding, disconnecting):
                task.cancel()
            await asyncio.gather(forwarding, disconnecting, return_exceptions=True)

    async def _forward(self, forwarded: ForwardedRequest) -> None:
        async with aclosing(self.front.answers(forwarded)) as messages:
            async for message in messages:
                await self.send(message)

    async def _disconnected(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass

    async def send(self, message: Message) -> None:
        """Forward a message, and note its status and the time of the first chunk."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.streams = (b"content-type", b"text/event-stream; charset=utf-8") in message["headers"]
        else:
            self.complete = not message.get("more_body", False)
            if self.streams and self.first is None:
                self.first = monotonic() - self.began
        await self._send(message)

    async def _send_error(self, error: Exception) -> None:
        """Send what went wrong: as a response, or as the end of a stream that has begun."""
        if self.status is None:
            response = problems.response(error)
            if isinstance(error, Full):
                response.headers["Retry-After"] = str(error.seconds)
            self.status = response.status_code
            await response(self.request.scope, self.request.receive, self._send)
            return
        refused = problems.refusal(error)
        self.status = refused.status  # for the metrics; another one has been sent
        end = f"data: {json.dumps(problems.shaped(refused))}\n\ndata: [DONE]\n\n" if self.streams else ""
        await self._send({"type": "http.response.body", "body": end.encode(), "more_body": False})


def newest(statuses: Mapping[str, str], current: str | None = None) -> str | None:
    """Of applications and their statuses, the engine that was deployed last of those that run. The ``current`` one does
    until it is taken away, for one of its replicas may be starting again."""
    numbers = {
        name: int(number)
        for name, status in statuses.items()
        if name.startswith(ENGINES) and (number := name.removeprefix(ENGINES)).isdecimal()
        if status == RUNNING or (name == current and status != DELETING)
    }
    return max(numbers, key=numbers.__getitem__, default=None)
