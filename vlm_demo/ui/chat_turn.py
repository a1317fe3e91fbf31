"""ChatTurn: one question and its answer. Knows neither HTML nor the model."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from vlm_demo.contracts import StageEvent, TokenEvent
from vlm_demo.images.open import Page, Source
from vlm_demo.ui.pictures import small
from vlm_demo.words import AGREED, REREAD

if TYPE_CHECKING:
    import numpy as np

    from vlm_demo.contracts import Answer, Grounding, Shares
    from vlm_demo.contracts.engine import Event


_tickets = itertools.count()


@dataclass(eq=False)
class ChatTurn:
    """One question and its answer.

    Attributes:
        pictures: the files attached to this question, as bytes; empty when it is about an earlier picture.
        pages: the page or frame of each, from 1; None = the file has only one. Empty = the first of each.
        names: their file names, for putting them back into the composer.
        previews: data URIs of the pictures, upright and small.
        state: ``waiting``, ``running``, ``done``, ``stopped`` or ``failed``.
        answer_text: the answer so far.
        answer: the answer with its views shrunk to what the page shows.
        sizes: (width, height) of the uploads that ``answer.views`` were shrunk from.
        shares: for each word of the answer, how its attention was divided, or None where that is not known.
        methods: heatmap method → why this answer can't have a map by it; None where it can.
        grounding: whether the answer rests on the picture; None until ``judged``, or where it can't be measured.
        checked: whether all checks that run without a press are done.
        blank: ``waiting`` or ``running`` while its question is asked about a blank picture, else empty.
        problem: the sentence shown in place of the answer, when ``failed``.
        outside: a sentence about an out-of-distribution picture and the command that helps, or None.
        stop: set to end the computation.
        lost: whether it ended because the page's connection was lost.
        ticket: the number of the question among those of all pages, in the order in which they were asked.
        ahead: how many questions of other pages come first, as last drawn.
        model, precision: of the engine that answers; empty while the question waits.
        remote: whether a server answers, which does not report its stages.
        given: an existing answer that is only replayed by teacher forcing; None = it has to be generated.
        given_by: the model that gave it.
    """

    question: str
    ocr: bool
    evidence_only: bool
    pictures: tuple[bytes, ...] = ()
    names: tuple[str, ...] = ()
    previews: tuple[str, ...] = ()
    state: str = "waiting"
    answer_text: str = ""
    stages: list[StageEvent] = field(default_factory=list)
    answer: Answer | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    shares: tuple[Shares | None, ...] = ()
    methods: dict[str, str | None] = field(default_factory=dict)
    grounding: Grounding | None = None
    judged: bool = False
    checked: bool = False
    blank: str = ""
    problem: str = ""
    outside: tuple[str, str] | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    lost: bool = False
    ticket: int = field(default_factory=lambda: next(_tickets))
    ahead: int = 0
    model: str = ""
    precision: str = ""
    remote: bool = False
    pages: tuple[int | None, ...] = ()
    given: str | None = None
    given_by: str = ""

    @property
    def sources(self) -> tuple[Source, ...]:
        """The pictures as an engine takes them, each at its page."""
        pages = self.pages or (None,) * len(self.pictures)
        pairs = zip(self.pictures, pages, strict=True)
        return tuple(picture if page is None else Page(picture, page) for picture, page in pairs)

    @property
    def running(self) -> bool:
        return self.state in ("waiting", "running")

    @property
    def queued(self) -> bool:
        """Whether the model has not started on it; its pictures may be opened and read meanwhile."""
        return self.running and not any(stage.name == "prompt" for stage in self.stages)

    @property
    def replayed(self) -> str:
        """A sentence or two where another model gave the answer than the one that is explained; else empty."""
        answer = self.answer
        if answer and answer.replay and self.given is not None:
            share = answer.replay.agreement
            return REREAD.format(answer.model, answer.replay.by, "" if share is None else AGREED.format(share))
        return answer.replayed if answer else ""

    @cached_property
    def attention(self) -> np.ndarray:
        """float32 [tokens, image tokens], the attention of each token's step, the mean of all layers and heads."""
        return self.answer.trace.image.mean((1, 2), dtype="float32")

    def receive(self, event: Event) -> Answer | None:
        """Record an engine's event; returns the answer, the last event, and None before."""
        match event:
            case StageEvent():
                self.stages.append(event)
            case TokenEvent():
                self.answer_text = event.text
            case _:
                return event
        return None

    def complete(self, answer: Answer) -> None:
        """Store the answer. A huge upload must not stay in memory at its full size, nor its maps be drawn at it."""
        self.sizes = tuple(view.size for view in answer.views)
        self.shares = tuple(answer.shares(word) for word in answer.words)
        self.answer, self.answer_text = replace(answer, views=tuple(small(view) for view in answer.views)), answer.text
        self.state = "stopped" if answer.stopped else "done"
