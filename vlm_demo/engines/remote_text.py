"""Remote text: the chunks of a server's answer as they come → its tokens and text, cut where it only repeats itself."""

from __future__ import annotations

from dataclasses import replace

from vlm_demo.contracts import Token
from vlm_demo.engines.remote_stream import StreamChunk
from vlm_demo.runtime.repetition import TextGuard

NO_TOKEN_ID = -1  # of a token: servers send texts only


class RemoteText:
    """What a server has written so far.

    Attributes:
        tokens: a token a chunk, without ids.
        text: the tokens' texts, joined.
        cut: how many tokens were cut off as repetition, one that was cut in its middle among them; then nothing more is
            to be added.
        full: the server was not allowed to write more.
    """

    def __init__(self, cuts_repetition: bool) -> None:
        self.tokens: list[Token] = []
        self.text, self.cut, self.full = "", 0, False
        self._guard = TextGuard() if cuts_repetition else None

    def add(self, chunk: StreamChunk) -> Token | None:
        """Take the next chunk; returns its token, None where it has no text, or none that stays."""
        self.full = self.full or chunk.full
        if not chunk.text:
            return None
        token = Token(chunk.text, NO_TOKEN_ID, chunk.probability or 0.0)
        self.tokens.append(token)
        self.text += chunk.text
        length = self._guard.add(chunk.text) if self._guard else None
        if length is None:
            return token
        self._keep(length)
        return None

    def _keep(self, length: int) -> None:
        """Forget all but the first ``length`` characters."""
        count, room = 0, length
        while room > 0:
            room -= len(self.tokens[count].text)
            count += 1
        self.cut = len(self.tokens) - count + (room < 0)
        self.text, self.tokens = self.text[:length], self.tokens[:count]
        if room < 0:
            last = self.tokens[-1]
            self.tokens[-1] = replace(last, text=last.text[:room])
