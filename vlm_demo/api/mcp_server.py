"""MCP server: ``ask``, ``explain``, ``check``, ``score`` and ``fields`` as tools of the Model Context Protocol, on the
page's port.

Needs the package mcp (``pip install "gradio[mcp]"``). Gradio's own MCP server is not used: it asks for no password,
fetches pictures from any address, and leaves them on disk.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from inspect import signature
from typing import Annotated, Any

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import CallToolResult, ImageContent, TextContent, Tool
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from vlm_demo import document_fields
from vlm_demo.api import model_requests, problems
from vlm_demo.api.access import Access, Places
from vlm_demo.api.chat_request import LONGEST_ANSWER
from vlm_demo.api.chat_response import checked, explained
from vlm_demo.api.model_requests import NO_EXTRAS, RequestedExtras, RequestOutcome
from vlm_demo.api.parameters import MEANING
from vlm_demo.api.problems import Refused
from vlm_demo.api.request_bodies import BIGGEST_BODY, RequestBodies
from vlm_demo.contracts.engine import Cancelled, Request
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.images.open import Page
from vlm_demo.images.overlay import overlay
from vlm_demo.own_thread import started

PATH = "/mcp"
LIMIT = "max_request_body_size"  # newer versions of mcp refuse what is larger; by default 4 MiB, less than a photo
Content = list[TextContent | ImageContent]
Picture = Annotated[str, Field(description=MEANING["image"])]
PageNumber = Annotated[int | None, Field(ge=1, description=MEANING["page"])]
Ocr = Annotated[bool, Field(description=MEANING["ocr"])]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Ask(_Arguments):
    image: Picture
    question: str
    ocr: Ocr = False
    evidence_only: bool = Field(False, description=MEANING["evidence_only"])
    max_tokens: int = Field(LONGEST_ANSWER, ge=1, description=MEANING["max_tokens"])
    page: PageNumber = None


class _Explain(_Arguments):
    image: Picture
    question: str
    answer: str = Field(description=MEANING["answer"])
    words: list[str] | None = Field(None, description="of the answer, to draw where the model looks for them")
    page: PageNumber = None


class _Check(_Ask):
    blank: bool = Field(False, description=MEANING["blank"])


class _Score(_Arguments):
    image: Picture
    texts: list[str] = Field(description=MEANING["texts"])


class _Fields(_Arguments):
    image: Picture
    json_schema: dict[str, Any] = Field(alias="schema", description=MEANING["schema"])
    ocr: Ocr = True
    page: PageNumber = None
    in_one: bool = Field(False, description=MEANING["in_one"])


class McpServer:
    """Answers MCP clients with the model that the page has loaded. ``bodies`` reads what they send, with that of the
    page's other APIs."""

    def __init__(self, service: ModelRegistry, access: Access, places: Places, bodies: RequestBodies) -> None:
        self.service, self.access, self.places, self.bodies = service, access, places, bodies
        self._tools: dict[str, tuple[str, type[_Arguments], Callable[[Any, Cancelled], Content]]] = {
            "ask": ("Answer a question about a picture, with a small vision-language model.", _Ask, self.ask),
            "explain": (
                "Tell how likely the model finds each word of a given answer about a picture, whether the answer rests "
                "on the picture, and show where the model looks for its words.",
                _Explain,
                self.explain,
            ),
            "check": (
                "Answer a question about a picture, and tell what may be wrong with the answer, why, and what to do.",
                _Check,
                self.check,
            ),
            "score": ("Tell how well each of some texts fits a picture, if the model can.", _Score, self.score),
            "fields": (
                "Read the fields of a receipt or a form by a JSON schema; null where one was not found.",
                _Fields,
                self.fields,
            ),
        }
        server: Server = Server("vlm_demo")
        server.list_tools()(self.listed)
        server.call_tool(validate_input=False)(self.called)  # errors are worded here, in `called`
        options: dict[str, Any] = {"json_response": True, "stateless": True}
        if LIMIT in signature(StreamableHTTPSessionManager).parameters:
            options[LIMIT] = BIGGEST_BODY
        self._manager = StreamableHTTPSessionManager(server, **options)

    def route(self) -> Route:
        """Its address, for the page's server."""
        return Route(PATH, _Guarded(self._manager, self.access, self.bodies))

    @asynccontextmanager
    async def running(self, _: Any) -> AsyncIterator[None]:
        """The session manager, which runs as long as the page is served."""
        async with self._manager.run():
            yield

    async def listed(self) -> list[Tool]:
        """The tools."""
        return [
            Tool(name=name, description=description, inputSchema=arguments.model_json_schema())
            for name, (description, arguments, _) in self._tools.items()
        ]

    async def called(self, name: str, given: dict[str, Any]) -> Content | CallToolResult:
        """Call a tool. An error is one sentence; where the call is cancelled, the computation ends."""
        stop = threading.Event()
        try:
            if name not in self._tools:
                raise Refused(f"There is no such tool: choose one of {', '.join(self._tools)}.")
            _, form, use = self._tools[name]
            arguments = _read(form, given)
            self.places.enter()
            try:
                computing = started(partial(self._run, use, arguments, stop.is_set))
            except BaseException:  # the machine refuses another thread
                self.places.leave()
                raise
            return await asyncio.wrap_future(computing)
        except Exception as error:
            message = problems.shaped(problems.refusal(error))["error"]["message"]
            return CallToolResult(content=[TextContent(type="text", text=str(message))], isError=True)
        finally:
            stop.set()

    def _run(self, use: Callable[[Any, Cancelled], Content], given: _Arguments, cancelled: Cancelled) -> Content:
        """Use a tool in a place that was taken, which is free then."""
        try:
            return use(given, cancelled)
        finally:
            self.places.leave()

    def ask(self, given: _Ask, cancelled: Cancelled) -> Content:
        """The answer's text."""
        return [TextContent(type="text", text=self._outcome(given, NO_EXTRAS, cancelled).answer.text)]

    def check(self, given: _Check, cancelled: Cancelled) -> Content:
        """The answer and the checklist on it, as JSON."""
        outcome = self._outcome(given, RequestedExtras(checklist=True, blank=given.blank), cancelled)
        return [TextContent(type="text", text=json.dumps(checked(outcome), ensure_ascii=False))]

    def _outcome(self, given: _Ask, extras: RequestedExtras, cancelled: Cancelled) -> RequestOutcome:
        picture = self.access.hosts.picture(given.image)
        engine_request = Request(
            (picture if given.page is None else Page(picture, given.page),),
            given.question,
            ocr=given.ocr,
            evidence_only=given.evidence_only,
            max_new_tokens=given.max_tokens,
            cancelled=cancelled,
            visitor=self.places.visitor,
        )
        with closing(model_requests.ask(self.service, engine_request, extras)) as events:
            *_, outcome = events
        assert isinstance(outcome, RequestOutcome)
        return outcome

    def explain(self, given: _Explain, cancelled: Cancelled) -> Content:
        """The figures as JSON, and each word's heatmap over the picture."""
        picture = self.access.hosts.picture(given.image)
        images = (picture if given.page is None else Page(picture, given.page),)
        engine_request = Request(images, given.question, cancelled=cancelled, visitor=self.places.visitor)
        extras = RequestedExtras(tuple(given.words or ()), grounding=True)
        outcome = model_requests.explain(self.service, engine_request, given.answer, extras)
        figures = explained(outcome)
        figures["heatmaps"] = [{"word": drawn.word, "problem": drawn.problem or None} for drawn in outcome.maps]
        content: Content = [TextContent(type="text", text=json.dumps(figures, ensure_ascii=False))]
        for drawn in outcome.maps:
            if (heat := drawn.heat) is not None:
                buffer = io.BytesIO()
                overlay(outcome.answer.views[drawn.image].image, heat).save(buffer, "PNG")
                data = base64.b64encode(buffer.getvalue()).decode()
                content.append(ImageContent(type="image", data=data, mimeType="image/png"))
        return content

    def score(self, given: _Score, cancelled: Cancelled) -> Content:
        """Each text's probability, as JSON."""
        picture = self.access.hosts.picture(given.image)
        with self.service.engine(cancelled) as engine:
            scores = engine.score(picture, given.texts, cancelled=cancelled, visitor=self.places.visitor)
        found = dict(zip(scores.texts, scores.probabilities, strict=True))
        return [TextContent(type="text", text=json.dumps(found, ensure_ascii=False))]

    def fields(self, given: _Fields, cancelled: Cancelled) -> Content:
        """The fields, and which required ones were not found, as JSON."""
        schema = document_fields.checked(given.json_schema)
        picture = self.access.hosts.picture(given.image)
        engine_request = Request(
            (picture if given.page is None else Page(picture, given.page),),
            "",
            ocr=given.ocr,
            evidence_only=True,
            max_new_tokens=document_fields.TOKENS,
            cancelled=cancelled,
            visitor=self.places.visitor,
        )
        fields = model_requests.fields(self.service, engine_request, schema, given.in_one)
        return [TextContent(type="text", text=json.dumps(fields, ensure_ascii=False))]


def _read(form: type[_Arguments], given: dict[str, Any]) -> _Arguments:
    try:
        return form.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the arguments"
        raise Refused(f"{place[:100]} can't be used: {first['msg'][:1].lower()}{first['msg'][1:]}.") from None


class _Guarded:
    """The protocol's server behind the page's password. Where the client disconnects, the computation ends."""

    def __init__(self, manager: StreamableHTTPSessionManager, access: Access, bodies: RequestBodies) -> None:
        self.manager, self.access, self.bodies = manager, access, bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = HttpRequest(scope, receive)
        try:
            self.access.admit(request.headers)
            body = await self.bodies.read(request) if request.method == "POST" else None
        except ClientDisconnect:
            return
        except Refused as refused:
            await problems.response(refused)(scope, receive, send)
            return
        if body is None:
            await self.manager.handle_request(scope, receive, send)
        else:
            await self._answer(scope, body, receive, send)

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def disconnected() -> Message:
            while (message := await receive())["type"] != "http.disconnect":
                pass
            return message

        async def given() -> Message:
            return messages.pop() if messages else await asyncio.shield(disconnecting)

        disconnecting = asyncio.ensure_future(disconnected())
        answering = asyncio.ensure_future(self.manager.handle_request(scope, given, send))
        try:
            await asyncio.wait({answering, disconnecting}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            for task in (answering, disconnecting):
                task.cancel()
            await asyncio.gather(answering, disconnecting, return_exceptions=True)
