"""Choosing: logits → the next token, as a step of the language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from vlm_demo.contracts.sampling import Sampling
from vlm_demo.runtime import attention_tap
from vlm_demo.runtime.json_grammar import JsonLogitsProcessor

if TYPE_CHECKING:
    from transformers import GenerationConfig


@dataclass(frozen=True)
class Step:
    """One step of the language model.

    Attributes:
        id: the token it chose, or was given.
        probability: 0..1, that token's softmax share.
        rows: the attention rows of this step ([1, layers, heads, image tokens]) in the layers that look at pictures, or
            None with the tap closed.
        known: how many of the prompt's tokens were cached; in the first step alone.
        likeliest: of a token that it was given, whether no other one was likelier.
        closing: the rows of the step after it, which has read this token; in the last step of a given answer alone.
        alternatives: ids and natural log-probabilities of the likeliest tokens, likeliest first, where they are wanted.
    """

    id: int
    probability: float
    rows: attention_tap.Rows | None
    known: int = 0
    closing: attention_tap.Rows | None = None
    alternatives: tuple[tuple[int, float], ...] = ()
    likeliest: bool | None = None


def likeliest(logits: torch.Tensor, count: int) -> tuple[tuple[int, float], ...]:
    """The ids and natural log-probabilities of the ``count`` likeliest tokens by logits [vocabulary], as the model gave
    them: before temperature, penalties, and what an answer is held to."""
    if not count:
        return ()
    values, ids = logits.float().log_softmax(-1).topk(min(count, logits.shape[-1]))
    return tuple(zip(ids.tolist(), values.tolist(), strict=True))


class TokenChoice:
    """Logits → the next token, by transformers' own processors in the order of its ``generate``.

    Sampling is done on the CPU by a separate generator, so that a seed gives the same numbers whatever else runs.
    ``json_processor`` rules out what the answer must not go on with; it comes first, so that all others choose from
    what is left.
    """

    def __init__(
        self, sampling: Sampling, generation: GenerationConfig, json_processor: JsonLogitsProcessor | None = None
    ) -> None:
        self.processors = LogitsProcessorList()
        if json_processor is not None:
            self.processors.append(json_processor)
        penalty = sampling.repetition_penalty or generation.repetition_penalty or 1.0
        if penalty != 1.0:
            self.processors.append(RepetitionPenaltyLogitsProcessor(float(penalty)))
        if generation.no_repeat_ngram_size and json_processor is None:  # it could rule out all that fits
            self.processors.append(NoRepeatNGramLogitsProcessor(generation.no_repeat_ngram_size))
        self.generator: torch.Generator | None = None
        if not sampling.draws:
            return
        self.generator = torch.Generator()
        if sampling.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(int(sampling.seed))
        if sampling.temperature is not None and sampling.temperature != 1.0:
            self.processors.append(TemperatureLogitsWarper(float(sampling.temperature)))
        if sampling.top_k is not None:
            self.processors.append(TopKLogitsWarper(int(sampling.top_k)))
        if sampling.top_p is not None and sampling.top_p < 1.0:
            self.processors.append(TopPLogitsWarper(float(sampling.top_p)))

    def __call__(self, ids: Sequence[int], logits: torch.Tensor) -> int:
        """The token after ``ids``, prompt and answer so far, from its logits [1, vocabulary]."""
        scores = logits.float() if self.processors or self.generator else logits
        if self.processors:
            scores = self.processors(torch.tensor([list(ids)], device=logits.device), scores)
        if self.generator is None:
            return int(scores[0].argmax())
        return int(torch.multinomial(scores[0].softmax(-1).cpu(), 1, generator=self.generator))
