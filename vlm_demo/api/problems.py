"""Problems: what went wrong → a status code and an error in OpenAI's shape. One sentence, never a traceback."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

from vlm_demo.engines.registry import UNEXPECTED, log_unexpected
from vlm_demo.errors import BadImage, BadQuestion, BadSetting, OcrUnavailable, UnsupportedModel, VlmDemoError

LONGEST = 400  # characters of a sentence, which may quote what was sent
CALLER_ERRORS = (BadImage, BadQuestion, BadSetting, OcrUnavailable, UnsupportedModel)  # the caller can fix these
TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


@dataclass(eq=False)
class Refused(VlmDemoError):
    """A request that is not answered.

    Attributes:
        sentence: the cause and the next step.
        status: the HTTP status.
        code: one word, as OpenAI's clients know it; None where there is none.
        param: the field of the request that is wrong.
    """

    sentence: str
    status: int = 400
    code: str | None = None
    param: str | None = None

    def __str__(self) -> str:
        return self.sentence


def refusal(error: BaseException) -> Refused:
    """The refusal for an error; of an unexpected one, only where it happened is logged, nothing of the request."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, CALLER_ERRORS):
        return Refused(str(error))
    if isinstance(error, VlmDemoError):
        return Refused(str(error), 503)
    log_unexpected(error)
    return Refused(UNEXPECTED, 500)


def shaped(refused: Refused) -> dict[str, dict[str, str | None]]:
    """In OpenAI's shape."""
    kind = TYPES.get(refused.status, "invalid_request_error" if refused.status < 500 else "server_error")
    sentence = refused.sentence
    if len(sentence) > LONGEST:
        sentence = f"{sentence[: LONGEST - 1]}…"
    return {"error": {"message": sentence, "type": kind, "param": refused.param, "code": refused.code}}


def response(error: BaseException) -> Response:
    """The answer to a request that failed."""
    refused = refusal(error)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "5"}}.get(refused.status)
    return JSONResponse(shaped(refused), refused.status, headers)
