"""Detokenizer: token ids as they come → texts that join to the answer, and its words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vlm_demo.contracts import Token, Word
from vlm_demo.contracts.events import Alternative

REACH = 8  # tokens of context with which an alternative token is decoded


class Detokenizer:
    """Token ids as they come → texts that join to the answer.

    A token may end inside a character; its text is then empty, and the token that ends the character gets it.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self.tokens: list[Token] = []
        self.text = ""
        self._ended = False
        self._control = frozenset(getattr(tokenizer, "all_special_ids", ()))

    def add(self, id_: int, probability: float, alternatives: Sequence[tuple[int, float]] = ()) -> Token:
        """Take the next token, and the ids and log-probabilities of those that might have stood in its place; returns
        it with its text."""
        others = tuple(Alternative(self._alternative_text(other), other, logprob) for other, logprob in alternatives)
        self.ids.append(id_)
        decoded = self._decoded()
        # U+FFFD at the end stands for a character whose other bytes are still to come.
        new_text = decoded[len(self.text) :] if decoded.startswith(self.text) and not decoded.endswith("\ufffd") else ""
        self.text += new_text
        self.tokens.append(Token(new_text, id_, probability, others))
        return self.tokens[-1]

    def keep(self, count: int) -> int:
        """Forget all tokens but the first ``count``; returns how many that were."""
        cut = len(self.ids) - count
        self.ids, self.tokens = self.ids[:count], self.tokens[:count]
        self.text = "".join(token.text for token in self.tokens)
        return cut

    def end_before(self, stops: Sequence[str]) -> bool:
        """Forget all from the first of these texts on, which may begin inside a token; False = none was written."""
        found = [at for at in map(self.text.find, stops) if at >= 0]
        if not found:
            return False
        self._ended, self.text = True, self.text[: min(found)]
        kept, excess = 0, -len(self.text)  # tokens, and the characters by which they are longer than the text
        while excess < 0:
            excess += len(self.tokens[kept].text)
            kept += 1
        self.ids, self.tokens = self.ids[:kept], self.tokens[:kept]
        if excess:
            last = self.tokens[-1]
            self.tokens[-1] = replace(last, text=last.text[:-excess])
        return True

    def finish(self) -> None:
        """No more tokens: bytes of an unfinished character belong to the last one."""
        if self._ended:
            return
        decoded = self._decoded()
        if self.tokens and decoded != self.text and decoded.startswith(self.text):
            self.tokens[-1] = replace(self.tokens[-1], text=self.tokens[-1].text + decoded[len(self.text) :])
            self.text = decoded

    def _decoded(self) -> str:
        return self._text(self.ids)

    def _alternative_text(self, id_: int) -> str:
        """The text that a token would have as the next one."""
        if id_ in self._control:
            return str(self.tokenizer.convert_ids_to_tokens(id_))
        context = self.ids[-REACH:]
        before, extended = self._text(context).rstrip("\ufffd"), self._text([*context, id_])
        return extended[len(before) :] if extended.startswith(before) else self._text([id_])

    def _text(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)


def words_of(tokens: Sequence[Token]) -> tuple[Word, ...]:
    """Cut the tokens' joined text at white space; each word knows the tokens that wrote it."""
    text, owners, waiting = "", [], 0
    for i, token in enumerate(tokens):
        # Tokens without a text of their own are the first bytes of the next one's first character.
        owners += [(waiting, i)] * bool(token.text) + [(i, i)] * (len(token.text) - 1)
        waiting = i + 1 if token.text else waiting
        text += token.text
    return tuple(
        Word(match.group(), owners[match.start()][0], owners[match.end() - 1][1] + 1)
        for match in re.finditer(r"\S+", text)
    )
