"""Front: the one address → a replica's answer, passed on as it comes. Knows no model, nor how replicas are reached.

It lets in what there are places for, says which picture a request is about, counts, and asks once more where a replica
died before its first word. What is asked and answered passes through it unread, but for the picture's name.
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
from vlm_demo.api.openai_server import METHODS, PATH, body_of
from vlm_demo.api.problems import Refused
from vlm_demo.errors import VlmDemoError
from vlm_demo.serving.admission import Admission, Full
from vlm_demo.serving.in_process import Headers
from vlm_demo.serving.metrics import CONTENT_TYPE, Facts, Metrics
from vlm_demo.serving.picture_key import picture_key

BEGUN, FACTS = "vlm_demo.begun", "vlm_demo.facts"  # messages of a replica beside those of ASGI
RUNNING, DELETING = "RUNNING", "DELETING"  # as Ray says it
ENGINES = "engine-"  # an engine application's name: this, and a number that grows with each switch of models
TRIES = 2
DIED = "The replica that answered has died: ask again."
NO_MODEL = "No model is ready yet: try again in a moment."
PASSED_ON = (b"content-type", b"accept")


class ReplicaDied(VlmDemoError):
    """A replica ended before its answer did."""


class TooMany(VlmDemoError):
    """More wait for a replica than may."""


@dataclass(frozen=True)
class Asked:
    """A request as a replica gets it; ``key`` names its picture, None = any replica will do."""

    key: str | None
    method: str
    path: str
    headers: Headers
    body: bytes


class Replicas(Protocol):
    """All that run one model."""

    def ask(self, asked: Asked) -> AsyncGenerator[Message]:
        """Have one answer; closing this ends its work.

        Yields:
            ``BEGUN`` when a replica has taken the request up, the messages of ASGI, ``FACTS`` with ``facts``.
        Raises:
            ReplicaDied: it did.
            TooMany: they wait.
        """


class Front:
    """Answers programs through ``replicas``, which may be exchanged at any time: what has begun ends where it began."""

    def __init__(self, access: Access, admission: Admission, metrics: Metrics, affinity: bool = True) -> None:
        self.access, self.admission, self.metrics, self.affinity = access, admission, metrics, affinity
        self.replicas: Replicas | None = None
        self.working = 0
        self.users: dict[int, int] = {}  # id of the replicas that a request is with → how many are

    def application(self) -> Starlette:
        """All that is served."""
        return Starlette(
            routes=[
                Route("/healthz", self.health),
                Route("/metrics", self.numbers),
                Route(PATH + "/{rest:path}", _Passing(self), methods=METHODS),
            ]
        )

    async def health(self, _: Request) -> Response:
        """200 where a model is ready."""
        ready = self.replicas is not None and not self.admission.closed
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def numbers(self, request: Request) -> Response:
        """For Prometheus, which has to know the key too."""
        try:
            self.access.admit(request.headers)
        except Refused as refused:
            return problems.response(refused)
        admission = self.admission
        text = self.metrics.text(max(0, admission.open - self.working), self.working, admission.places)
        return Response(text, media_type=CONTENT_TYPE)

    def left_with(self, replicas: Replicas) -> int:
        """How many requests are with these replicas still."""
        return self.users.get(id(replicas), 0)

    async def answers(self, asked: Asked) -> AsyncGenerator[Message]:
        """The messages of ASGI. The first one waits for the second, so that whole answers come whole or not at all."""
        for tried in range(1, TRIES + 1):
            replicas, spoken, held = self.replicas, False, None
            if replicas is None:
                raise VlmDemoError(NO_MODEL)
            try:
                async with aclosing(self._once(replicas, asked)) as messages:
                    async for message in messages:
                        if message["type"] == "http.response.start":
                            held = message
                            continue
                        if held is not None:
                            yield held
                        spoken, held = True, None
                        yield message
                return
            except ReplicaDied:
                if spoken or tried == TRIES:
                    raise

    async def _once(self, replicas: Replicas, asked: Asked) -> AsyncGenerator[Message]:
        begun = 0
        self.users[id(replicas)] = self.left_with(replicas) + 1
        try:
            async with aclosing(replicas.ask(asked)) as messages:
                async for message in messages:
                    if message["type"] == FACTS:
                        self.metrics.heard(Facts(**message["facts"]))
                    elif message["type"] != BEGUN:
                        yield message
                    elif not begun:
                        begun = 1
                        self.working += 1
        finally:
            self.working -= begun
            self.users[id(replicas)] -= 1
            if not self.users[id(replicas)]:
                del self.users[id(replicas)]


class _Passing:
    """The ASGI application that passes a request on and its answer back; where nobody waits for it, its work ends."""

    def __init__(self, front: Front) -> None:
        self.front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        one = _Exchange(self.front, Request(scope, receive), send)
        with suppress(ClientDisconnect):
            await one.run()


class _Exchange:
    """One request and its answer: the ``status`` that was sent, and when the ``first`` of a stream was."""

    def __init__(self, front: Front, request: Request, send: Send) -> None:
        self.front, self.request, self._send = front, request, send
        self.began = monotonic()
        self.status: int | None = None
        self.streams = False
        self.first: float | None = None

    async def run(self) -> None:
        front = self.front
        try:
            front.access.admit(self.request.headers)
            with front.admission.place():
                await self._answer()
        except ClientDisconnect:
            self.status = self.status or 499
            raise
        except TooMany:
            await self._tell(front.admission.full())
        except Exception as error:
            await self._tell(error)
        finally:
            if self.status is not None:
                front.metrics.ended(self.status, self.first, monotonic() - self.began)

    async def _answer(self) -> None:
        request, posts = self.request, self.request.method == "POST"
        body = await body_of(request) if posts else b""
        key = await asyncio.to_thread(picture_key, body) if self.front.affinity and body else None
        headers = [(name, value) for name, value in request.headers.raw if name in PASSED_ON]
        asked = Asked(key, request.method, request.url.path, headers, body)
        passing, leaving = asyncio.ensure_future(self._pass(asked)), asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not passing.done():
                raise ClientDisconnect
            passing.result()
        finally:
            for task in (passing, leaving):
                task.cancel()
            await asyncio.gather(passing, leaving, return_exceptions=True)

    async def _pass(self, asked: Asked) -> None:
        async with aclosing(self.front.answers(asked)) as messages:
            async for message in messages:
                await self.send(message)

    async def _gone(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass

    async def send(self, message: Message) -> None:
        """Pass a message on, and see what it tells."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.streams = (b"content-type", b"text/event-stream; charset=utf-8") in message["headers"]
        elif self.streams and self.first is None:
            self.first = monotonic() - self.began
        await self._send(message)

    async def _tell(self, error: Exception) -> None:
        """Say what went wrong: as a response, or as the end of a stream that has begun."""
        if self.status is None:
            response = problems.response(error)
            if isinstance(error, Full):
                response.headers["Retry-After"] = str(error.seconds)
            self.status = response.status_code
            await response(self.request.scope, self.request.receive, self._send)
            return
        refused = problems.refusal(error)
        self.status = refused.status  # for the numbers; another one has been sent
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
