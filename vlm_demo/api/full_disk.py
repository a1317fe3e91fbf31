"""Full disk: the response to an upload where this machine has no room for it."""

from __future__ import annotations

import errno

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
SENTENCE = "The server's disk is full: send a smaller file, or try again when there is room."


async def no_room(_: Request, error: Exception) -> Response:
    """One sentence, which Gradio's page shows; any other file error is raised again.

    Raises:
        OSError: it is no full disk.
    """
    if getattr(error, "errno", None) not in NO_ROOM:
        raise error
    return PlainTextResponse(SENTENCE, 507)
