"""Operator key: where the page is served to others (a Space, a proxy), whoever knows the key may switch models too.

``/operator`` asks for the key, and gives the browser a cookie that lasts until it is closed or the server ends.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from vlm_demo.engines.registry import OPERATOR_COOKIE, ModelRegistry

PATH = "/operator"
PAUSE = 1.0  # seconds before a wrong key is refused; such requests wait for one another
BIGGEST_FORM = 4096  # bytes
FORM = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>vlm_demo: operator</title><body style="font: 16px sans-serif; max-width: 30em; margin: 4em auto; padding: 0 1em">
<p>{message}</p><form method="post"><label>Key <input type="password" name="key" autocomplete="off" autofocus></label>
<button>Sign in</button></form></body></html>"""
ASKED = "The operator's key lets this browser switch models."
WRONG = "This is not the key: look at what the server was started with."
HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


class OperatorKey:
    """Tells operators from visitors by a key, for a service whose ``operator_token`` it sets."""

    def __init__(self, service: ModelRegistry, key: str) -> None:
        self._key = key.encode()
        self._token = service.operator_token = secrets.token_urlsafe(32)
        self._one = asyncio.Lock()

    def route(self) -> Route:
        """Its address, for the page's server."""
        return Route(PATH, self.answered, methods=["GET", "POST"])

    async def answered(self, request: Request) -> Response:
        """The form; or, with the right key, the page, with the cookie."""
        if request.method != "POST":
            return HTMLResponse(FORM.format(message=ASKED), headers=HEADERS)
        given = await _key(request)
        async with self._one:
            if not hmac.compare_digest(given, self._key):
                await asyncio.sleep(PAUSE)
                return HTMLResponse(FORM.format(message=WRONG), 403, HEADERS)
        # The address is relative: a proxy may serve this below another path.
        response = RedirectResponse("./", 303, HEADERS)
        safe = request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "").startswith("https")
        response.set_cookie(OPERATOR_COOKIE, self._token, httponly=True, samesite="strict", secure=safe)
        return response


async def _key(request: Request) -> bytes:
    """What the form holds; empty where it is too large."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BIGGEST_FORM:
            return b""
    return parse_qs(body.decode("latin-1")).get("key", [""])[0].encode()
