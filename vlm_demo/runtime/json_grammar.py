"""JSON grammar: a JSON schema → which tokens an answer may go on with, so that it becomes JSON that fits.

The grammar is llguidance's (https://github.com/guidance-ai/llguidance), which follows the schema byte by byte and knows
which tokens of a vocabulary begin with what may come next. Knows token ids and no model.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

import llguidance
import numpy as np
import torch
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from vlm_demo.errors import BadSetting

LONGEST_SCHEMA = 65_536  # characters
# Compact JSON, with one space behind commas and colons: a small model would fill its limit with white space.
LAYOUT: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class JsonGrammars:
    """Makes grammars for one tokenizer, of which the table of tokens is built when it is first needed, once."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tables: dict[int, llguidance.LLTokenizer] = {}
        self._lock = threading.Lock()

    @property
    def usable(self) -> bool:
        """Whether this tokenizer's answers can be held to a schema."""
        return isinstance(self._tokenizer, PreTrainedTokenizerFast)

    def processor_for(self, schema: str, ends: Collection[int]) -> JsonLogitsProcessor:
        """What holds one answer to ``schema``, the text of a JSON schema.

        Args:
            ends: the tokens that end an answer.
        Raises:
            BadSetting: the schema is no JSON, too large, asks for what a decoder can't be held to, or this tokenizer
                can't be followed.
        """
        if not self.usable or not ends:
            raise BadSetting("This model's answers can't be held to a JSON schema: ask for JSON in the question.")
        if len(schema) > LONGEST_SCHEMA:
            raise BadSetting(f"The JSON schema is longer than {LONGEST_SCHEMA} characters: send a smaller one.")
        end = min(ends)
        try:
            grammar = llguidance.LLMatcher.grammar_from_json_schema(schema, overrides=LAYOUT)
        except ValueError:
            raise BadSetting("The JSON schema is no JSON object: send one with a type.") from None
        matcher = llguidance.LLMatcher(self._table(end), grammar, log_level=0)
        if matcher.is_error():
            raise BadSetting(f"The answer can't be held to this JSON schema ({_problem_of(matcher)}): simplify it.")
        return JsonLogitsProcessor(matcher, end, frozenset(ends))

    def _table(self, end: int) -> llguidance.LLTokenizer:
        with self._lock:
            if end not in self._tables:
                # Serialised by llguidance without the settings for padding, which a text of one token has no use for.
                from llguidance.hf import from_tokenizer

                self._tables[end] = from_tokenizer(self._tokenizer, eos_token=end)
            return self._tables[end]


class JsonLogitsProcessor(LogitsProcessor):
    """A processor of logits for one answer, in its first step called with the prompt: rules out every token after which
    the answer could not become JSON that fits. An end token may come only where it does."""

    def __init__(self, matcher: llguidance.LLMatcher, end: int, ends: frozenset[int]) -> None:
        self._matcher, self._end, self._others = matcher, end, sorted(ends - {end})
        self._consumed: int | None = None  # how many of the ids that it is given it has read

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits [1, vocabulary] with minus infinity for what is ruled out, after ids [1, prompt and answer so far]."""
        if self._consumed is not None:
            self._matcher.consume_tokens(input_ids[0, self._consumed :].tolist())
        self._consumed = input_ids.shape[1]
        if self._matcher.is_error():
            raise BadSetting(
                f"The answer can't be held to this JSON schema ({_problem_of(self._matcher)}): simplify it."
            )
        allowed = torch.zeros(scores.shape[-1], dtype=torch.bool)
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")
        count = min(len(bits), len(allowed))
        allowed[:count] = torch.from_numpy(bits[:count].astype(bool))
        for other in self._others:
            allowed[other] = allowed[self._end]
        return scores.masked_fill(~allowed.to(scores.device), -torch.inf)


def _problem_of(matcher: llguidance.LLMatcher) -> str:
    """What llguidance says, in one line of at most 150 characters."""
    return " ".join(matcher.get_error().split())[:150].rstrip(".: ")
