"""Batching: several answers that are being written → one step of the language model for all of them.

No separate thread: whoever waits for a token while nobody computes takes the step, for every answer that can take
one, and the others get theirs. An answer whose reader is slow is written a few tokens ahead and then left out, so that
readers of any pace share their steps. Knows nothing of tokens but that they come one after the other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

from vlm_demo.contracts import ImageTokens, Prompt
from vlm_demo.contracts.sampling import Sampling
from vlm_demo.runtime.attention_tap import Rows
from vlm_demo.runtime.batch_cache import cut_back
from vlm_demo.runtime.cancellation import POLL_SECONDS, check
from vlm_demo.stages.choosing import Step, TokenChoice

if TYPE_CHECKING:
    from transformers import DynamicCache

    from vlm_demo.runtime.cancellation import CancellationHooks, Cancelled

AHEAD = 4  # tokens that are written of an answer before its reader asks for them, where several answers are written

StepOutput = tuple[torch.Tensor, Rows | None]  # logits [1, vocabulary] of the next token, and attention rows


@dataclass(eq=False)
class RunningAnswer:
    """One answer while it is written.

    Attributes:
        prompt, image_tokens: what it answers.
        cache: keys and values of the prompt, and of the answer but for its last token.
        ids: prompt and answer so far.
        choice, sampling: how its tokens are chosen.
        cancelled: asked while its reader waits, and, where it is computed alone, in each layer.
        left: how many more steps may be taken; 0 when the answer has ended.
        together: with how many it may be computed, itself counted; 1 = alone.
        ready: the steps that its reader has not taken yet.
        failed: what its last step failed at.
    """

    prompt: Prompt
    image_tokens: ImageTokens
    cache: DynamicCache
    ids: list[int]
    choice: TokenChoice
    sampling: Sampling
    cancelled: Cancelled | None
    left: int
    together: int = 1
    ready: deque[Step] = field(default_factory=deque)
    failed: Exception | None = None


class Steps(Protocol):
    """What computes the steps; see ``stages.llm.Llm``."""

    @property
    def batches(self) -> bool:
        """Whether it can compute several together."""

    def forward(self, rows: Sequence[RunningAnswer]) -> Sequence[StepOutput]:
        """Read the last token of each answer, in one pass; what comes after each."""

    def choose(self, row: RunningAnswer, output: StepOutput) -> Step:
        """The token after the last one of an answer, which is appended to it."""


class Batch:
    """The answers that are being written with one model.

    Attributes:
        budget: bytes that the keys and values of all of them may take; None = any. One may take more alone.
        token_bytes: what one token's keys and values take; 0 as long as it is not known.
    """

    def __init__(self, steps: Steps, guard: CancellationHooks) -> None:
        self._steps, self._guard = steps, guard
        self.budget: int | None = None
        self.token_bytes = 0
        self._changed = threading.Condition()
        self._rows: list[RunningAnswer] = []
        self._stepping = False
        self._reserved = 0  # bytes
        self._waiting: deque[object] = deque()

    @contextmanager
    def room(self, tokens: int, cancelled: Cancelled | None = None) -> Iterator[None]:
        """Reserve memory for so many tokens until the block ends; wait, first come, first served, while there is none.

        Raises:
            Stopped: ``cancelled()`` turned True while waiting.
        """
        ticket, needed = object(), tokens * self.token_bytes
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or not self._fits(needed):
                    self._wait(cancelled)
                self._reserved += needed
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._reserved -= needed
                self._changed.notify_all()

    @contextmanager
    def joined(self, row: RunningAnswer) -> Iterator[None]:
        """Have an answer written with the others until the block ends."""
        with self._changed:
            self._rows.append(row)
        try:
            yield
        finally:
            with self._changed:
                self._rows.remove(row)

    def next(self, row: RunningAnswer) -> Step:
        """The next step of an answer that has joined.

        Raises:
            Stopped: its ``cancelled()`` turned True; steps that were taken ahead are dropped.
            Exception: what its step failed at. The others go on.
        """
        while True:
            with self._changed:
                check(row.cancelled)
                while self._stepping and not row.ready and not row.failed:
                    self._wait(row.cancelled)
                if row.ready:
                    return row.ready.popleft()
                if row.failed:
                    raise row.failed
                self._stepping = True
                alone = len(self._rows) == 1 or row.together == 1 or not self._steps.batches
            try:
                # A step of several is not stopped by one of them: it is short.
                if alone:
                    self._guard.urgently(lambda: self._take([row]), row.cancelled)
                else:
                    self._guard.urgently(lambda: self._take(self._together(row)))
            finally:
                with self._changed:
                    self._stepping = False
                    self._changed.notify_all()

    def _together(self, row: RunningAnswer) -> list[RunningAnswer]:
        """An answer, and those that can take a step with it."""
        with self._changed:
            others = [other for other in self._rows if other is not row and other.together > 1]
            able = [other for other in others if other.left and not other.failed and len(other.ready) < AHEAD]
        # Who is written least far ahead comes first.
        return [row, *sorted(able, key=lambda other: len(other.ready))[: row.together - 1]]

    def _take(self, rows: Sequence[RunningAnswer]) -> None:
        """One step of each; where it fails for all of them, each takes it alone."""
        lengths = [row.cache.get_seq_length() for row in rows]
        try:
            outputs = self._steps.forward(rows)
        except BaseException as error:
            if len(rows) > 1:
                for row, length in zip(rows, lengths, strict=True):
                    cut_back(row.cache, length)
            if not isinstance(error, Exception):
                raise
            if len(rows) > 1:
                for row in rows:
                    self._take([row])
            else:
                rows[0].failed = error
            return
        for row, output in zip(rows, outputs, strict=True):
            try:
                row.left -= 1
                row.ready.append(self._steps.choose(row, output))
            except Exception as error:
                row.failed = error

    def _fits(self, needed: int) -> bool:
        return not self._reserved or self.budget is None or self._reserved + needed <= self.budget

    def _wait(self, cancelled: Cancelled | None) -> None:
        self._changed.wait(POLL_SECONDS if cancelled else None)
        check(cancelled)
