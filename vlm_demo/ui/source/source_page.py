"""Source page: a source file that implements a step of an answer → a self-contained HTML page.

Shows the files of a fixed list and no other, and only to those who may see the page: behind its password, if any.
"""

from __future__ import annotations

from functools import cache

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from vlm_demo.ui.components.templates import render
from vlm_demo.ui.source import listing
from vlm_demo.ui.source.step_files import FILES, PATH
from vlm_demo.ui.theme import STATIC, variables

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
NOT_SHOWN = "There is no such file here."
SIGN_IN = "Sign in on the page first."


def route() -> Route:
    """Its address, for the page's server."""
    return Route(f"/{PATH}/{{name:path}}", _answered)


def _answered(request: Request) -> Response:
    if not signed_in(request):
        return HTMLResponse(SIGN_IN, 401, HEADERS)
    name = request.path_params["name"]
    if name not in FILES:
        return HTMLResponse(NOT_SHOWN, 404, HEADERS)
    return HTMLResponse(page(name), headers=HEADERS)


def signed_in(request: Request) -> bool:
    """Whether a request may see the page. Gradio protects only its own routes, by cookies that its server knows."""
    server = request.app
    if server.auth is None and server.auth_dependency is None:
        return True
    cookies = (request.cookies.get(f"{kind}-{server.cookie_id}") for kind in ("access-token", "access-token-unsecure"))
    return any(cookie in server.tokens for cookie in cookies if cookie)


@cache
def page(name: str) -> str:
    """One of ``FILES`` as a page."""
    style = variables("@media (prefers-color-scheme: dark)") + (STATIC / "source.css").read_text(encoding="utf-8")
    up = "../" * (name.count("/") + 1)
    return str(
        render(
            "source",
            style=Markup(style),
            name=name,
            files=[(file, f"{up}{PATH}/{file}") for file in FILES],
            up=up,
            lines=listing.lines(listing.text_of(name)),
        )
    )
