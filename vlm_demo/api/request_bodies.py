"""Request bodies: read within a time and within the memory that all which are being read may take."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from vlm_demo.api.problems import Refused

BIGGEST_BODY = 64 * 2**20  # bytes
MOST_BYTES = 3 * BIGGEST_BODY  # of all bodies that are being read; one of them may go beyond
SECONDS = 120.0  # until a body has come, waiting for memory included


class RequestBodies:
    """The bodies of one server's requests.

    What counts is what has come: a client that announces much and sends nothing keeps nobody waiting. Where the memory
    is full, one of those that have begun goes on all the same: else they would wait for one another.
    """

    def __init__(self) -> None:
        self.held = 0  # bytes
        self._beyond: bytearray | None = None  # the body that goes on
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
        if length.isdecimal() and int(length) > BIGGEST_BODY:
            raise _too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(SECONDS):
                async for part in request.stream():
                    if len(body) + len(part) > BIGGEST_BODY:
                        raise _too_large()
                    await self._hold(body, len(part))
                    body += part
                return bytes(body)
        except TimeoutError:
            sentence = f"The request did not come within {SECONDS:.0f} s: send smaller pictures, or fewer."
            raise Refused(sentence, 408) from None
        finally:
            await self._release(body)

    async def _hold(self, body: bytearray, more: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(more) or self._may_go_beyond(body))
            if not self._fits(more):
                self._beyond = body
            self.held += more

    def _fits(self, more: int) -> bool:
        return self.held + more <= MOST_BYTES

    def _may_go_beyond(self, body: bytearray) -> bool:
        return len(body) > 0 and (self._beyond is None or self._beyond is body)

    async def _release(self, body: bytearray) -> None:
        async with self._changed:
            self.held -= len(body)
            if self._beyond is body:
                self._beyond = None
            self._changed.notify_all()


def _too_large() -> Refused:
    return Refused(f"The request is larger than {BIGGEST_BODY >> 20} MiB: send smaller pictures, or fewer.", 413)
