"""Chat request: the body of ``/v1/chat/completions`` → an engine's `Request`.

    {"model": "llava", "messages": [{"role": "user", "content": [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}]}]}

Options that no engine here supports are refused, not ignored. No file of this machine is ever read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vlm_demo import chat_messages
from vlm_demo.api.model_requests import RequestedExtras
from vlm_demo.api.problems import Refused
from vlm_demo.contracts.engine import Request
from vlm_demo.contracts.sampling import MOST_ALTERNATIVES, Sampling
from vlm_demo.errors import BadImage
from vlm_demo.images.open import Page

LONGEST_ANSWER = 256  # tokens, where the request says nothing
MOST_PICTURES = 16
Picture = Callable[[str], bytes]

# Field → its neutral values, and why no other is supported.
NEUTRAL: dict[str, tuple[tuple[Any, ...], str]] = {
    "n": ((1,), "one answer is given to a request: send it again for another"),
    "presence_penalty": ((0,), "there is no such penalty here: use repetition_penalty"),
    "frequency_penalty": ((0,), "there is no such penalty here: use repetition_penalty"),
    "logit_bias": (({},), "single tokens can't be favoured here"),
    "tools": (([],), "no tools are called here"),
    "functions": (([],), "no tools are called here"),
    "tool_choice": (("none", "auto"), "no tools are called here"),
    "function_call": (("none", "auto"), "no tools are called here"),
    "modalities": ((["text"],), "answers are text"),
    "audio": ((), "answers are text"),
    "prediction": ((), "no predicted output is made use of here"),
    "web_search_options": ((), "nothing is searched on the web"),
}


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Loose(BaseModel):
    """Clients send a message back with all the fields that it was received with."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _ImageUrl(_Loose):
    url: str
    detail: str | None = None  # pictures are always seen as the model sees them


class _Text(_Loose):
    type: Literal["text"]
    text: str


class _Image(_Loose):
    type: Literal["image_url"]
    image_url: _ImageUrl


_Part = Annotated[_Text | _Image, Field(discriminator="type")]
_Parts = Annotated[list[_Part], BeforeValidator(lambda c: [{"type": "text", "text": c}] if isinstance(c, str) else c)]
_Texts = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]


class _Message(_Loose):
    role: Literal["system", "developer", "user", "assistant"]
    content: _Parts


class _StreamOptions(_Loose):
    include_usage: bool = False


class _Extension(_Strict):
    """What this server offers besides OpenAI's API; see `RequestedExtras` and `Request`. ``page``: of the last
    question's files (PDF), or their frame (GIF, TIFF), from 1."""

    ocr: bool = False
    evidence_only: bool = False
    heatmaps: Annotated[bool | list[str], Field(union_mode="left_to_right")] = False
    heatmap_method: str | None = None
    grounding: bool = False
    page: Annotated[int, Field(ge=1)] | None = None
    checklist: bool = False


class _FreeText(_Strict):
    type: Literal["text"]


class _AnyJson(_Strict):
    type: Literal["json_object"]


class _JsonSchema(_Strict):
    name: str | None = None
    description: str | None = None
    strict: bool | None = None  # the answer always follows the schema
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class _BySchema(_Strict):
    type: Literal["json_schema"]
    json_schema: _JsonSchema


class _Body(_Strict):
    model: str
    messages: Annotated[list[_Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: Annotated[_Texts, Field(max_length=4)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10**6)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=10**6)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_ALTERNATIVES)] | None = None
    response_format: Annotated[_FreeText | _AnyJson | _BySchema, Field(discriminator="type")] | None = None
    vlm_demo: _Extension | None = None

    # May have the values in NEUTRAL.
    n: Any = None
    presence_penalty: Any = None
    frequency_penalty: Any = None
    logit_bias: Any = None
    tools: Any = None
    functions: Any = None
    tool_choice: Any = None
    function_call: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None

    # Sent by clients, and without an effect on an answer.
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    parallel_tool_calls: Any = None
    reasoning_effort: Any = None
    verbosity: Any = None


@dataclass(frozen=True)
class ChatRequest:
    """One request.

    Attributes:
        model: the name of the requested model.
        request: what the engine is asked.
        extras: the extension's options.
        stream: send the words as they come.
        usage: send the numbers of tokens at the end of a stream.
        logprobs: return each token's probability.
        extended: whether the extension was requested at all.
    """

    model: str
    request: Request
    extras: RequestedExtras
    stream: bool
    usage: bool
    logprobs: bool
    extended: bool


def read(body: bytes, picture: Picture) -> ChatRequest:
    """Parse a request's body; ``picture`` turns a picture's URL into a file's bytes.

    Raises:
        Refused: it is no JSON, or a field can't be had; says which, and what to do.
        BadQuestion, BadImage, BadSetting: what is asked, a picture or a setting can't be used.
    """
    try:
        parsed = _Body.model_validate_json(body)
    except ValidationError as error:
        raise _refused(error) from None
    for name, (neutral, reason) in NEUTRAL.items():
        value = getattr(parsed, name)
        if value is not None and value not in neutral:
            raise Refused(f"{name} can't be had: {reason}.", param=name)
    if parsed.temperature is not None and parsed.temperature > 2:
        raise Refused("temperature can't be above 2: choose a number from 0 to 2.", param="temperature")
    if sum(isinstance(part, _Image) for message in parsed.messages for part in message.content) > MOST_PICTURES:
        raise BadImage(f"There are more than {MOST_PICTURES} pictures in this request: leave some out.")
    chat = chat_messages.read([_plain(message, picture) for message in parsed.messages])
    extension = parsed.vlm_demo or _Extension()
    limit = parsed.max_completion_tokens or parsed.max_tokens or LONGEST_ANSWER
    if parsed.top_logprobs and not parsed.logprobs:
        raise Refused("top_logprobs can't be had alone: send logprobs as true too.", param="top_logprobs")
    sampling = Sampling(
        parsed.temperature,
        parsed.top_p,
        parsed.top_k,
        parsed.seed,
        parsed.repetition_penalty,
        tuple(parsed.stop or ()),
        _schema(parsed.response_format),
        parsed.top_logprobs or 0,
    )
    request = Request(
        chat.images if extension.page is None else tuple(Page(picture, extension.page) for picture in chat.images),
        chat.question,
        ocr=extension.ocr,
        evidence_only=extension.evidence_only,
        max_new_tokens=limit,
        history=chat.history,
        system=chat.system,
        sampling=sampling,
    )
    words = tuple(extension.heatmaps) if isinstance(extension.heatmaps, list) else ()
    extras = RequestedExtras(
        words, extension.heatmaps is True, extension.heatmap_method, extension.grounding, extension.checklist
    )
    usage = bool(parsed.stream_options and parsed.stream_options.include_usage)
    return ChatRequest(
        parsed.model, request, extras, bool(parsed.stream), usage, bool(parsed.logprobs), parsed.vlm_demo is not None
    )


def _schema(response_format: _FreeText | _AnyJson | _BySchema | None) -> str | None:
    """The JSON schema that an answer has to follow, as text; None = any text."""
    if isinstance(response_format, _BySchema):
        return json.dumps(response_format.json_schema.schema_)
    return '{"type": "object"}' if isinstance(response_format, _AnyJson) else None


def _plain(message: _Message, picture: Picture) -> dict[str, Any]:
    """A message as `chat_messages` reads it; pictures are bytes, and never a path."""
    role = "system" if message.role == "developer" else message.role
    parts: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, _Text):
            parts.append({"type": "text", "text": part.text})
        else:
            parts.append({"type": "image", "image": picture(part.image_url.url)})
    return {"role": role, "content": parts}


def _refused(error: ValidationError) -> Refused:
    """One sentence about the first thing that is wrong."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    kind, message = first["type"], first["msg"]
    if kind == "json_invalid":
        return Refused(f"The body is no JSON object ({message}): send one with model and messages.")
    place = _place(first["loc"])
    if not place:
        return Refused("The body is no JSON object: send one with model and messages.")
    param = place[:100]
    if kind == "extra_forbidden":
        return Refused(f"{param} is not known here: leave it out.", param=param)
    if kind == "missing":
        return Refused(f"{param} is missing: add it.", param=param)
    if place.endswith(".heatmaps"):
        message = "Input should be true, or a list of words"
    if kind == "list_type" and place.endswith("content"):
        message = "Input should be a text, or a list of parts"
    if kind.startswith("union_tag") and place.startswith("response_format"):
        message = 'Input should have the type "text", "json_object" or "json_schema"'
    elif kind.startswith("union_tag"):
        message = 'Input should be a part {"type": "text", "text": ...} or {"type": "image_url", "image_url": {...}}'
    return Refused(f"{param} can't be used: {message[0].lower()}{message[1:]}.", param=param)


def _place(steps: Sequence[str | int]) -> str:
    """``messages[0].content``; the names that pydantic adds for the branches of a union are left out."""
    place = ""
    for i, step in enumerate(steps):
        form = step in ("bool", "list[str]") or (i > 1 and steps[i - 2] == "content" and step in ("text", "image_url"))
        form = form or (i == 1 and steps[0] == "response_format")
        if not form:
            place += f"[{step}]" if isinstance(step, int) else f".{step}" if place else step
    return place
