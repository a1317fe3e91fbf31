"""OpenAI server: ``/v1/models`` and ``/v1/chat/completions``, to be mounted beside the page.

All questions wait in the page's own queue. A request's body lives as long as the request; nothing of it is logged or
written to disk. What the engine remembers of pictures and prompts is forgotten after some minutes without a request.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, closing, suppress
from dataclasses import replace
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from vlm_demo.api import asking, chat_request, problems
from vlm_demo.api.access import Access, Places
from vlm_demo.api.asking import Outcome
from vlm_demo.api.chat_request import ChatRequest
from vlm_demo.api.chat_response import Reply
from vlm_demo.api.problems import Refused
from vlm_demo.contracts import TokenEvent
from vlm_demo.engines.registry import ModelRegistry

PATH = "/v1"
BIGGEST_BODY = 64 * 2**20  # bytes
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
NOT_SERVED = "Nothing is served here: ask GET /v1/models or POST /v1/chat/completions."
GONE = 499  # as nginx says it: nobody reads this answer
Happening = TokenEvent | Outcome


class OpenAiServer:
    """Answers programs with the model that the page has loaded."""

    def __init__(
        self,
        service: ModelRegistry,
        access: Access,
        places: Places,
        heard: Callable[[Outcome], None] = lambda outcome: None,
    ) -> None:
        self.service, self.access, self.places = service, access, places
        self.heard = heard  # is told of every answer, in the thread that computed it
        self._started = int(time.time())

    def routes(self) -> list[Route]:
        """All of it, for the page's server. Not mounted as a whole: below the path of a proxy that takes it off again
        (``--root-path``), what is mounted would look for its routes at the wrong address."""
        models, chat = f"{PATH}/models", f"{PATH}/chat/completions"
        return [
            Route(models, self._guarded(self.models)),
            Route(models + "/{name:path}", self._guarded(self.model)),
            Route(chat, self._guarded(self.chat), methods=["POST"]),
            *(Route(served, _other_method, methods=METHODS) for served in (models, chat)),
            Route(PATH + "/{rest:path}", _elsewhere, methods=METHODS),
        ]

    def _guarded(self, answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def answered(request: Request) -> Response:
            try:
                self.access.admit(request.headers)
                return await answer(request)
            except ClientDisconnect:
                return Response(status_code=GONE)
            except Exception as error:
                return problems.response(error)

        return answered

    # -- models ---------------------------------------------------------------------------------------------------

    @property
    def loaded(self) -> str:
        """The model's name."""
        return self.service.status.name

    def _described(self) -> dict[str, Any]:
        return {"id": self.loaded, "object": "model", "created": self._started, "owned_by": "vlm_demo"}

    async def models(self, _: Request) -> Response:
        """The one that is loaded."""
        return JSONResponse({"object": "list", "data": [self._described()]})

    async def model(self, request: Request) -> Response:
        """One by its name."""
        if request.path_params["name"] != self.loaded:
            raise asking.not_loaded(request.path_params["name"], self.loaded)
        return JSONResponse(self._described())

    # -- chat -----------------------------------------------------------------------------------------------------

    async def chat(self, request: Request) -> Response:
        """Answer, whole or word by word. Where nobody waits for the answer any longer, its computing ends."""
        body = await body_of(request)
        self.places.enter()
        try:
            asked = await asyncio.to_thread(chat_request.read, body, self.access.hosts.picture)
            del body
            if asked.model != self.loaded:
                raise asking.not_loaded(asked.model, self.loaded)
        except BaseException:
            self.places.leave()
            raise
        happening = self._compute(asked)
        respond = self._stream(asked, happening) if asked.stream else self._whole(asked, happening)
        return await _unless_gone(request, respond)

    async def _compute(self, asked: ChatRequest) -> AsyncIterator[Happening]:
        """What happens to a request, computed in a thread of its own, which leaves its place; closing this ends it."""
        loop, stop = asyncio.get_running_loop(), threading.Event()
        happenings: asyncio.Queue[Happening | BaseException] = asyncio.Queue()

        def tell(happening: Happening | BaseException) -> None:
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(happenings.put_nowait, happening)

        def work() -> None:
            try:
                request = replace(asked.request, cancelled=stop.is_set, visitor=self.places.visitor)
                with closing(asking.ask(self.service, request, asked.wanted, asked.model)) as happening:
                    for event in happening:
                        if isinstance(event, Outcome):
                            self.heard(event)
                        tell(event)
            except BaseException as error:
                tell(error)
            finally:
                self.places.leave()

        threading.Thread(target=work, daemon=True).start()
        try:
            while True:
                happening = await happenings.get()
                if isinstance(happening, BaseException):
                    raise happening
                yield happening
                if isinstance(happening, Outcome):
                    return
        finally:
            stop.set()

    async def _whole(self, asked: ChatRequest, happening: AsyncIterator[Happening]) -> Response:
        async with aclosing(happening):  # type: ignore[type-var]
            async for event in happening:
                if isinstance(event, Outcome):
                    return JSONResponse(Reply(asked).whole(event))
        raise AssertionError("no outcome")

    async def _stream(self, asked: ChatRequest, happening: AsyncIterator[Happening]) -> Response:
        """The first word is waited for, so that what goes wrong before it has a status code of its own."""
        try:
            first = await anext(happening)
        except BaseException:
            await happening.aclose()  # type: ignore[attr-defined]
            raise
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the latter tells nginx to pass it on
        return StreamingResponse(_lines(asked, first, happening), headers=headers, media_type="text/event-stream")


async def _lines(asked: ChatRequest, first: Happening, happening: AsyncIterator[Happening]) -> AsyncIterator[str]:
    """Server-sent events."""
    reply, tokens = Reply(asked), []
    yield _line(reply.first())
    async with aclosing(happening):  # type: ignore[type-var]
        event: Happening | None = first
        try:
            while event is not None and not isinstance(event, Outcome):
                tokens.append(event.token)
                if chunk := reply.more(event.text, tokens):
                    yield _line(chunk)
                event = await anext(happening, None)
            if event is not None:
                for chunk in reply.last(event):
                    yield _line(chunk)
        except Exception as error:
            yield _line(problems.shaped(problems.refusal(error)))
    yield "data: [DONE]\n\n"


def _line(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


async def body_of(request: Request) -> bytes:
    """A request's body.

    Raises:
        Refused: it is no JSON, or too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # a form of another site would be sent without asking first
        raise Refused("The body is no JSON: send it with the Content-Type application/json.", 415)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BIGGEST_BODY:
            raise Refused(f"The request is larger than {BIGGEST_BODY >> 20} MiB: send smaller pictures, or fewer.", 413)
    return bytes(body)


async def _unless_gone(request: Request, respond: Any) -> Response:
    """The response; its making is cancelled where the other side hangs up."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    making, leaving = asyncio.ensure_future(respond), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({making, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if making.done():
            return making.result()
        return Response(status_code=GONE)
    finally:
        for task in (making, leaving):
            task.cancel()
        await asyncio.gather(making, leaving, return_exceptions=True)


async def _elsewhere(_: Request) -> Response:
    """An address that is not served."""
    return problems.response(Refused(NOT_SERVED, 404))


async def _other_method(_: Request) -> Response:
    """A method that an address does not know."""
    return problems.response(Refused(NOT_SERVED, 405))
