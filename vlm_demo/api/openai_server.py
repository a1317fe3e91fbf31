"""OpenAI server: ``/v1/models`` and ``/v1/chat/completions``, to be mounted next to the page.

All questions wait in the page's own queue. A request's body lives as long as the request; nothing of it is logged or
written to disk. What the engine caches of pictures and prompts is dropped after some minutes without a request.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, closing, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from vlm_demo.api import chat_request, model_requests, problems
from vlm_demo.api.access import Access, Places
from vlm_demo.api.chat_request import ChatRequest
from vlm_demo.api.chat_response import Reply
from vlm_demo.api.model_requests import RequestOutcome
from vlm_demo.api.problems import Refused
from vlm_demo.api.request_bodies import RequestBodies
from vlm_demo.contracts import TokenEvent
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.own_thread import started

PATH = "/v1"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
NOT_SERVED = "Nothing is served here: ask GET /v1/models or POST /v1/chat/completions."
CLIENT_CLOSED_REQUEST = 499  # nginx's status: nobody reads this response
AnswerEvent = TokenEvent | RequestOutcome


class OpenAiServer:
    """Answers programs with the model that the page has loaded."""

    def __init__(
        self,
        service: ModelRegistry,
        access: Access,
        places: Places,
        on_outcome: Callable[[RequestOutcome], None] = lambda outcome: None,
    ) -> None:
        self.service, self.access, self.places = service, access, places
        self.bodies = RequestBodies()
        self.on_outcome = on_outcome  # called with every outcome, in the thread that computed it
        self._started = int(time.time())

    def routes(self) -> list[Route]:
        """All routes, for the page's server. Not mounted as a sub-application: behind a proxy that strips its path
        (``--root-path``), a mount would look for its routes at the wrong address."""
        models, chat = f"{PATH}/models", f"{PATH}/chat/completions"
        return [
            Route(models, self._guarded(self.models)),
            Route(models + "/{name:path}", self._guarded(self.model)),
            Route(chat, self._guarded(self.chat), methods=["POST"]),
            *(Route(served, _other_method, methods=METHODS) for served in (models, chat)),
            Route(PATH + "/{rest:path}", _not_found, methods=METHODS),
        ]

    def _guarded(self, answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def answered(request: Request) -> Response:
            try:
                self.access.admit(request.headers)
                return await answer(request)
            except ClientDisconnect:
                return Response(status_code=CLIENT_CLOSED_REQUEST)
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
            raise model_requests.not_loaded(request.path_params["name"], self.loaded)
        return JSONResponse(self._described())

    # -- chat -----------------------------------------------------------------------------------------------------

    async def chat(self, request: Request) -> Response:
        """Answer, whole or streamed. Where the client disconnects, the computation ends."""
        body = await self.bodies.read(request)
        self.places.enter()
        try:
            query = await asyncio.wrap_future(started(partial(chat_request.read, body, self.access.hosts.picture)))
            del body
            if query.model != self.loaded:
                raise model_requests.not_loaded(query.model, self.loaded)
        except BaseException:
            self.places.leave()
            raise
        events = self._compute(query)
        respond = self._stream(query, events) if query.stream else self._whole(query, events)
        return await _until_disconnect(request, respond)

    async def _compute(self, query: ChatRequest) -> AsyncIterator[AnswerEvent]:
        """A request's tokens and outcome, computed in another thread, which frees its place before the end is told;
        closing this ends it."""
        loop, stop = asyncio.get_running_loop(), threading.Event()
        queue: asyncio.Queue[AnswerEvent | BaseException] = asyncio.Queue()

        def publish(item: AnswerEvent | BaseException) -> None:
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(queue.put_nowait, item)

        def work() -> None:
            end: AnswerEvent | BaseException = AssertionError("no outcome")
            try:
                request = replace(query.request, cancelled=stop.is_set, visitor=self.places.visitor)
                with closing(model_requests.ask(self.service, request, query.extras, query.model)) as events:
                    for event in events:
                        if isinstance(event, RequestOutcome):
                            self.on_outcome(event)
                            end = event
                        else:
                            publish(event)
            except BaseException as error:
                end = error
            self.places.leave()
            publish(end)

        try:
            started(work)
        except BaseException:  # the machine refuses another thread
            self.places.leave()
            raise
        try:
            while True:
                item = await queue.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
                if isinstance(item, RequestOutcome):
                    return
        finally:
            stop.set()

    async def _whole(self, query: ChatRequest, events: AsyncIterator[AnswerEvent]) -> Response:
        async with aclosing(events):  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, RequestOutcome):
                    return JSONResponse(Reply(query).whole(event))
        raise AssertionError("no outcome")

    async def _stream(self, query: ChatRequest, events: AsyncIterator[AnswerEvent]) -> Response:
        """Waits for the first token, so that an error before it has its own status code."""
        try:
            first = await anext(events)
        except BaseException:
            await events.aclose()  # type: ignore[attr-defined]
            raise
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the latter tells nginx to pass it on
        return StreamingResponse(_lines(query, first, events), headers=headers, media_type="text/event-stream")


async def _lines(query: ChatRequest, first: AnswerEvent, events: AsyncIterator[AnswerEvent]) -> AsyncIterator[str]:
    """Server-sent events."""
    reply, tokens = Reply(query), []
    yield _line(reply.first())
    async with aclosing(events):  # type: ignore[type-var]
        event: AnswerEvent | None = first
        try:
            while event is not None and not isinstance(event, RequestOutcome):
                tokens.append(event.token)
                if chunk := reply.more(event.text, tokens):
                    yield _line(chunk)
                event = await anext(events, None)
            if event is not None:
                for chunk in reply.last(event):
                    yield _line(chunk)
        except Exception as error:
            yield _line(problems.shaped(problems.refusal(error)))
    yield "data: [DONE]\n\n"


def _line(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


async def _until_disconnect(request: Request, respond: Any) -> Response:
    """The response; its computation is cancelled where the client disconnects."""

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    response_task, disconnect_task = asyncio.ensure_future(respond), asyncio.ensure_future(disconnected())
    try:
        await asyncio.wait({response_task, disconnect_task}, return_when=asyncio.FIRST_COMPLETED)
        if response_task.done():
            return response_task.result()
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    finally:
        for task in (response_task, disconnect_task):
            task.cancel()
        await asyncio.gather(response_task, disconnect_task, return_exceptions=True)


async def _not_found(_: Request) -> Response:
    """An address that is not served."""
    return problems.response(Refused(NOT_SERVED, 404))


async def _other_method(_: Request) -> Response:
    """A method that an address does not support."""
    return problems.response(Refused(NOT_SERVED, 405))
