"""Access: who may send requests, how many at a time, and for how long what they sent stays cached. The same for every
API."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from vlm_demo.api.image_hosts import ImageHosts
from vlm_demo.api.problems import Refused
from vlm_demo.contracts.engine import Cancelled
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.engines.scheduler import wait_for_change

MOST_WAITING = 16  # requests that compute or wait for their turn at a time; Gradio's queue holds further ones
REMEMBERED = 600.0  # seconds without a request after which the engine forgets pictures and prompts


@dataclass(frozen=True)
class Access:
    """Who may send requests, and what may be fetched for them.

    Attributes:
        key: the bearer key that a request needs; None = none.
        hosts: from where pictures may be fetched.
    """

    key: str | None = None
    hosts: ImageHosts = ImageHosts()

    def admit(self, headers: Mapping[str, str]) -> None:
        """Check a request's headers.

        Raises:
            Refused: the key is missing or wrong.
        """
        if self.key is None:
            return
        kind, _, key = headers.get("authorization", "").partition(" ")
        # Headers come decoded as latin-1; the key was sent as UTF-8 bytes.
        right = hmac.compare_digest(key.strip().encode("latin-1"), self.key.encode())
        if kind.lower() != "bearer" or not right:
            sentence = "This server asks for a key: send its page's password as the API key."
            raise Refused(sentence, 401, "invalid_api_key")


class Places:
    """The places (request slots) of programs. When all have been free for a while, the engine's caches are cleared."""

    def __init__(self, service: ModelRegistry) -> None:
        self.service = service
        self.taken = self.awaited = 0
        self.visitor = secrets.token_hex(8)  # the key of the engine's caches: of all programs, which share one key
        self.forgetting: threading.Timer | None = None
        self._changed = threading.Condition()

    def enter(self) -> None:
        """Take a place; `leave` frees it.

        Raises:
            Refused: none is free but for those who wait for one.
        """
        with self._changed:
            if self.taken + self.awaited >= MOST_WAITING:
                sentence = f"{MOST_WAITING} requests wait for the model already: try again in a moment."
                raise Refused(sentence, 429, "rate_limit_exceeded")
            self._take()

    def _take(self) -> None:
        self.taken += 1
        if self.forgetting:
            self.forgetting.cancel()

    def leave(self) -> None:
        """Free the place."""
        with self._changed:
            self.taken -= 1
            self._changed.notify()
            if not self.taken:
                self.forgetting = threading.Timer(REMEMBERED, self.service.forget, (self.visitor,))
                self.forgetting.daemon = True
                self.forgetting.start()

    @contextmanager
    def one(self, cancelled: Cancelled) -> Iterator[None]:
        """Wait for a place, and have it until the block ends.

        Args:
            cancelled: polled while waiting.
        Raises:
            Stopped: ``cancelled()`` turned True while waiting.
        """
        with self._changed:
            self.awaited += 1
            try:
                while self.taken >= MOST_WAITING:
                    wait_for_change(self._changed, cancelled)
                self._take()
            finally:
                self.awaited -= 1
        try:
            yield
        finally:
            self.leave()
