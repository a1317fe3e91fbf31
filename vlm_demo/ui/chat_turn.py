"""ChatTurn: one question and what became of it. Knows neither HTML nor the model."""

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
    """One question and what became of it.

    Attributes:
        pictures: the files attached to this very question, as bytes; empty when it is about an earlier picture.
        pages: which page or frame of each is meant, from 1; None = the file is not divided. Empty = of all the first.
        names: their file names, for putting them back into the composer.
        previews: data URIs of the pictures, upright and small.
        state: ``waiting``, ``running``, ``done``, ``stopped`` or ``failed``.
        said: the answer so far.
        answer: the answer with its views shrunk to what the page shows.
        sizes: (width, height) of the uploads that ``answer.views`` were shrunk from.
        shares: for each word of the answer, what its attention rested on, or None where that is not known.
        methods: the heatmap methods' names, and why this answer can't have a map of it; None where it can.
        grounding: whether the answer rests on the picture; None until it is ``judged``, or where that can't be told.
        checked: whether the answer's checklist is as complete as it gets by itself.
        problem: the sentence that stands where the answer would be, when ``failed``.
        outside: a sentence about a picture outside the model's world and the command that helps, or empty.
        stop: set to end the computing.
        lost: whether it ended because the page's connection did.
        ticket: counts the questions of all pages, in the order in which they were asked.
        ahead: how many questions of other pages come first, as it was last drawn.
        model, precision: what is asked; empty as long as it waits.
        elsewhere: whether that is a server, which does not tell its stages.
        given: an answer that is there already and is only read once more; None = it has to be written.
        given_by: the model that gave it.
    """

    question: str
    ocr: bool
    evidence_only: bool
    pictures: tuple[bytes, ...] = ()
    names: tuple[str, ...] = ()
    previews: tuple[str, ...] = ()
    state: str = "waiting"
    said: str = ""
    stages: list[StageEvent] = field(default_factory=list)
    answer: Answer | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    shares: tuple[Shares | None, ...] = ()
    methods: dict[str, str | None] = field(default_factory=dict)
    grounding: Grounding | None = None
    judged: bool = False
    checked: bool = False
    problem: str = ""
    outside: tuple[str, str] | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    lost: bool = False
    ticket: int = field(default_factory=lambda: next(_tickets))
    ahead: int = 0
    model: str = ""
    precision: str = ""
    elsewhere: bool = False
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
        """Whether the model has not begun with it; its pictures may be opened and read meanwhile."""
        return self.running and not any(stage.name == "prompt" for stage in self.stages)

    @property
    def replayed(self) -> str:
        """A sentence or two where another model gave the answer than the one that was looked into; else empty."""
        answer = self.answer
        if answer and answer.replay and self.given is not None:
            share = answer.replay.agreement
            return REREAD.format(answer.model, answer.replay.by, "" if share is None else AGREED.format(share))
        return answer.replayed if answer else ""

    @cached_property
    def looked(self) -> np.ndarray:
        """float32 [tokens, image tokens], the attention of each token's step, the mean of all layers and heads."""
        return self.answer.trace.image.mean((1, 2), dtype="float32")

    def hear(self, event: Event) -> Answer | None:
        """Take in what an engine tells on the way to the answer; returns that, the last event, and None before."""
        match event:
            case StageEvent():
                self.stages.append(event)
            case TokenEvent():
                self.said = event.text
            case _:
                return event
        return None

    def keep(self, answer: Answer) -> None:
        """The answer is there. A huge upload must not stay in memory at its full size, nor its maps be drawn so."""
        self.sizes = tuple(view.size for view in answer.views)
        self.shares = tuple(answer.shares(word) for word in answer.words)
        self.answer, self.said = replace(answer, views=tuple(small(view) for view in answer.views)), answer.text
        self.state = "stopped" if answer.stopped else "done"
