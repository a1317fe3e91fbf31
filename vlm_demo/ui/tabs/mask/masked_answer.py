"""Masked answer: an answered question, and a part of a picture to hide → the question asked again, and how likely the
first answer is then. Knows neither HTML nor the chat."""

from __future__ import annotations

import math
import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vlm_demo.contracts import TokenEvent
from vlm_demo.contracts.engine import Engine, Request
from vlm_demo.images.hide import hide
from vlm_demo.images.open import open_image

if TYPE_CHECKING:
    from PIL import Image

    from vlm_demo.contracts import Answer


@dataclass(frozen=True)
class WordChance:
    """A word of the first answer and its probability, given those before it, with the picture whole and without what
    was hidden; each 0..1."""

    text: str
    whole: float
    without: float


@dataclass(frozen=True)
class Change:
    """How likely the first answer is with the picture whole and without what was hidden: the geometric mean of its
    tokens' probabilities, each 0..1; and its words."""

    whole: float
    without: float
    words: tuple[WordChance, ...]


@dataclass(eq=False)
class MaskedAnswer:
    """A question asked again, without a part of a picture.

    Attributes:
        mask: bool [h, w], True = hidden.
        picture: which of the question's pictures, those of earlier turns first.
        way: how it is hidden, one of ``images.hide.WAYS``.
        answer_text: the answer so far.
        state: ``waiting``, ``running``, ``done``, ``stopped`` or ``failed``; ``problem`` says why it failed.
        started: whether it has been handed to the model's queue, where it may wait.
        seen: the picture with the part hidden.
        answer: about the picture without the part.
        change: of the first answer's probability; None where the engine can't measure it.
    """

    mask: np.ndarray
    picture: int = 0
    way: str = "blur"
    answer_text: str = ""
    state: str = "waiting"
    started: bool = False
    problem: str = ""
    seen: Image.Image | None = None
    answer: Answer | None = None
    change: Change | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def running(self) -> bool:
        return self.state in ("waiting", "running")

    @property
    def share(self) -> float:
        """How much of the picture is hidden, 0..1."""
        return float(self.mask.mean()) if self.mask.size else 0.0


def work(engine: Engine, original: Request, first: str, masked: MaskedAnswer) -> Generator[None, None, None]:
    """Ask again, and replay the first answer with the picture whole and without the part; yields after each change.

    Args:
        original: the question as it was asked.
        first: the answer that was given.
    Raises:
        BadImage, BadQuestion, OcrUnavailable: as an engine's ``stream`` does.
        Stopped: ``original.cancelled()`` turned True before the first token.
    """
    request, masked.seen = hidden(original, masked)
    masked.state = "running"
    yield
    stream: Any = engine.stream(request)
    with closing(stream):
        for event in stream:
            if isinstance(event, TokenEvent):
                masked.answer_text = event.text
                yield
            elif hasattr(event, "tokens"):
                masked.answer = event
    yield
    if first.strip() and engine.capabilities.explains and engine.capabilities.logprobs:
        whole = engine.explain(original, first)
        masked.change = changed(whole, engine.explain(request, first))
    masked.state = "done"


def hidden(request: Request, masked: MaskedAnswer) -> tuple[Request, Image.Image]:
    """The same question, with a part of one of its pictures hidden; and that picture."""
    earlier = [len(turn.images) for turn in request.history]
    number, history, images = masked.picture, list(request.history), list(request.images)
    for at, count in enumerate(earlier):
        if number < count:
            pictures = list(history[at].images)
            pictures[number] = seen = _hidden(pictures[number], masked)
            history[at] = replace(history[at], images=tuple(pictures))
            return replace(request, history=tuple(history)), seen
        number -= count
    images[number] = seen = _hidden(images[number], masked)
    return replace(request, images=tuple(images)), seen


def _hidden(source: Any, masked: MaskedAnswer) -> Image.Image:
    image, _ = open_image(source)
    return hide(image, masked.mask, masked.way)


def changed(whole: Answer, without: Answer) -> Change:
    """The effect of hiding on the probabilities of an answer, replayed with both pictures."""
    pairs = zip(whole.words, without.words, strict=True)
    words = tuple(WordChance(word.text, _chance(whole, word), _chance(without, other)) for word, other in pairs)
    return Change(_mean(whole), _mean(without), words)


def _chance(answer: Answer, word: Any) -> float:
    return math.prod(token.probability for token in answer.tokens[word.start : word.stop])


def _mean(answer: Answer) -> float:
    logs = [math.log(max(token.probability, 1e-9)) for token in answer.tokens]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0
