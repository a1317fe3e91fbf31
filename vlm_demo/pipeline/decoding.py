"""Decoding: the steps of a generation → the tokens of an answer, as events.

Knows tokens and texts, not where the steps come from: of the language model as a stage, or of a model's ``generate``.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from vlm_demo.contracts import Check, OcrResult, Prompt, Token, TokenEvent, Trace
from vlm_demo.contracts.engine import Event
from vlm_demo.contracts.events import DecodeFacts, PrefillFacts
from vlm_demo.errors import Stopped
from vlm_demo.runtime import attention_tap, repetition
from vlm_demo.runtime.detokenizer import Detokenizer
from vlm_demo.runtime.stage_clock import StageClock
from vlm_demo.stages.choosing import Step

Generation = Generator[Step, None, attention_tap.Rows | None]


@dataclass(frozen=True)
class Written:
    """What the language model wrote, or read of a given answer.

    Attributes:
        text: the tokens' texts, joined.
        tokens: without the end token.
        rows: the attention rows of each token's step, in half precision; None where none were recorded.
        closing: the rows of the step after the last token; None where it was not taken.
        cut: how many more tokens were cut off as repetition.
        stopped: the person stopped it.
        full: no more tokens were allowed.
    """

    text: str
    tokens: tuple[Token, ...]
    rows: tuple[attention_tap.HalfRows | None, ...]
    closing: attention_tap.Rows | None = None
    cut: int = 0
    stopped: bool = False
    full: bool = False


@dataclass(frozen=True)
class GenerationOutcome:
    """What came of one question: the prompt, what was written after it, the attention of each token, whether the image
    tokens fitted the prompt, and what was read in each picture as it stands in the prompt; ``trace`` is None where none
    was recorded."""

    prompt: Prompt
    written: Written
    trace: Trace | None
    placed: Check
    ocrs: tuple[OcrResult, ...]


def decode(
    generation: Generation,
    prompt: Prompt,
    tokenizer: Any,
    clock: StageClock,
    *,
    limit: int,
    sees_ahead: bool,
    stop: Sequence[str],
    cuts_repetition: bool,
) -> Generator[Event, None, Written]:
    """Prefill, then one token at a time until the model ends, repeats itself, writes a text to stop at, or is stopped.

    Args:
        generation: the steps; what it returns are the rows of the step after the last token.
        prompt: what was prefilled.
        tokenizer: of the checkpoint.
        clock: takes the seconds of each stage, without the consumer's time between events.
        limit: how many tokens ``generation`` has at most.
        sees_ahead: whether words of the prompt see those after them, so that nothing of it is cached.
        stop: texts before the first of which the answer ends.
        cuts_repetition: whether an end that only repeats is cut off.
    Yields:
        The StageEvent prefill, TokenEvents, and the StageEvent decode.
    Raises:
        Stopped: before the first token. Later, the result has ``stopped`` set.
    """
    steps, text = _Steps(generation), Detokenizer(tokenizer)
    rows: list[attention_tap.HalfRows | None] = []
    with closing(generation):
        # 1) prefill, which ends with the first token
        began = time.perf_counter()
        step = steps.next()
        facts = PrefillFacts(len(prompt.ids), step.known if step else 0, sees_ahead)
        prefill = clock.since("prefill", began, facts)
        clock.seconds["first_token"] = clock.total
        yield prefill
        # 2) decode
        seconds, cut, stopped, ended = 0.0, 0, False, False
        try:
            while step:
                rows.append(attention_tap.halved(step.rows))
                token = text.add(step.id, step.probability, step.alternatives)
                ended = text.end_before(stop)
                yield TokenEvent(token, text.text)
                if ended:
                    break
                if cuts_repetition and (period := repetition.period(text.ids)):
                    texts = [token.text for token in text.tokens]
                    cut = text.keep(repetition.kept(text.ids, texts, period))
                    break
                began = time.perf_counter()
                step = steps.next()
                seconds += time.perf_counter() - began
        except Stopped:
            stopped = True
    text.finish()
    tokens = tuple(text.tokens)
    yield clock.done("decode", seconds, DecodeFacts(len(tokens) + cut, cut))
    full = not (cut or stopped or ended) and len(rows) >= limit
    return Written(text.text, tokens, tuple(rows[: len(tokens)]), steps.closing, cut, stopped, full)


class _Steps:
    """A generation's steps; ``closing`` is what it returned at its end."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self.closing: attention_tap.Rows | None = None

    def next(self) -> Step | None:
        """The next step; None at the end."""
        try:
            return next(self._generation)
        except StopIteration as end:
            self.closing = end.value
            return None
