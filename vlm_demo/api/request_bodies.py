"""Request bodies: read within a time and within the memory that all which are being read may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from vlm_demo.api.problems import Refused

BIGGEST_BODY = 64 * 2**20  # bytes
MOST_BYTES = 4 * BIGGEST_BODY  # of all bodies that are being read
SECONDS = 120.0  # until a body has come, those before it included


class RequestBodies:
    """The bodies of one server's requests."""

    def __init__(self) -> None:
        self.reserved = 0  # bytes
        self._changed = asyncio.Condition()

    async def read(self, request: Request) -> bytes:
        """A request's body; waits while others take all the memory.

        Raises:
            Refused: it is no JSON, too large, or too slow.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # another site's form would be sent without a preflight request
            raise Refused("The body is no JSON: send it with the Content-Type application/json.", 415)
        length = request.headers.get("content-length", "")
        most = int(length) if length.isdecimal() else BIGGEST_BODY
        if most > BIGGEST_BODY:
            raise _too_large()
        try:
            async with asyncio.timeout(SECONDS), self._memory(most):
                return await _read(request)
        except TimeoutError:
            sentence = f"The request did not come within {SECONDS:.0f} s: send smaller pictures, or fewer."
            raise Refused(sentence, 408) from None

    @asynccontextmanager
    async def _memory(self, size: int) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: self.reserved + size <= MOST_BYTES)
            self.reserved += size
        try:
            yield
        finally:
            self.reserved -= size
            async with self._changed:
                self._changed.notify_all()


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BIGGEST_BODY:
            raise _too_large()
    return bytes(body)


def _too_large() -> Refused:
    return Refused(f"The request is larger than {BIGGEST_BODY >> 20} MiB: send smaller pictures, or fewer.", 413)
