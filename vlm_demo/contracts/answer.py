"""Answer: what came of one question, with everything that made it, and its heatmaps.

Holds results only; no model is needed to look at it. How maps are drawn of the recorded attention is handed in.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, SupportsIndex

import numpy as np

from vlm_demo.contracts.attention import Trace
from vlm_demo.contracts.checks import Check
from vlm_demo.contracts.events import Memory, Timings, Token
from vlm_demo.contracts.geometry import View
from vlm_demo.contracts.ocr import OcrResult
from vlm_demo.contracts.prompt import Conversation, Prompt
from vlm_demo.errors import VlmDemoError, WordNotInAnswer
from vlm_demo.words import CUT, FULL, REPLAYED, UNREAD

_EDGES = re.compile(r"^[\W_]+|[\W_]+$")


@dataclass(frozen=True)
class Word:
    """A word of the answer: ``text`` and the half-open range [start, stop) of its tokens."""

    text: str
    start: int
    stop: int


@dataclass(frozen=True)
class Shares:
    """Where attention went, each 0..1, together 1: the pictures, the text, and the first token (the attention sink)."""

    picture: float
    text: float
    first: float


@dataclass(frozen=True)
class MapRequest:
    """One map that is asked for.

    Attributes:
        word: its first occurrence counts, whatever its case and punctuation; several words give the mean of their
            steps; one of ``Answer.words`` is meant where it stands; a number is the index of a token.
        image: which of ``Answer.views``.
        method: a name of ``contracts.heatmap_methods.TABLE``; None = the checkpoint's default.
        layer, head: a single one, counted from 0, of ``raw`` attention.
    """

    word: str | Word | SupportsIndex
    image: int = 0
    method: str | None = None
    layer: int | None = None
    head: int | None = None


@dataclass(frozen=True)
class Replay:
    """How an answer that a server wrote got its tokens, prompt and attention: another model read it, here.

    Attributes:
        by: that model's name; empty where none did.
        agreement: 0..1, the share of its tokens that it would have written itself, each after those before it (teacher
            forcing); None where it did not read the answer.
        tokens: as the server wrote them, without ids; a probability that it did not send is 0. Empty where the answer
            was given and not written.
        problem: why the answer was not read, as a sentence; empty where it was.
    """

    by: str
    agreement: float | None
    tokens: tuple[Token, ...]
    problem: str = ""


class MapDrawer(Protocol):
    """What makes maps of an answer's recorded attention."""

    def cells(self, answer: Answer, wanted: MapRequest) -> np.ndarray:
        """float [patches] of the picture, row by row of its view's grid."""

    def heatmap(self, answer: Answer, wanted: MapRequest) -> np.ndarray:
        """float32 [H, W] in the upload's own pixels, 0..1."""


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer.

    Attributes:
        text: the tokens' texts, joined.
        tokens: what the language model wrote, without the end token.
        words: ``text`` cut at white space.
        prompt: exactly what the model was given.
        views: every picture as the model saw it, in the prompt's order: those of the history first.
        ocr: the text that was given to the model, of all the question's pictures; None with OCR off.
        ocrs: the same, each picture apart.
        timings, memory: measured.
        model: the model's name.
        stopped: the person stopped it before its end.
        cut: how many tokens the model wrote behind ``tokens`` that were cut off, because it had begun to repeat itself
            without end. They are nowhere in this answer.
        full: it has as many tokens as it was allowed to have, or as the context has room for; of a server's answer, the
            server says so.
        trace: the attention rows that heatmaps are made of; None where the model gives none.
        conversation: what ``prompt`` was made of; None in an answer that no pipeline gave.
        drawer: draws the maps of ``trace``; None where there is none to draw.
        replay: of an answer that was written elsewhere, how ``tokens``, ``prompt``, ``views`` and ``trace`` came about,
            which are then those of the model that read it; None where the same model wrote it.
        checks: the checklist, as far as it costs no further reading or answer; ``engines.live_checks`` does the rest.
    """

    text: str
    tokens: tuple[Token, ...]
    words: tuple[Word, ...]
    prompt: Prompt
    views: tuple[View, ...]
    ocr: OcrResult | None
    timings: Timings
    memory: Memory
    model: str
    stopped: bool = False
    cut: int = 0
    full: bool = False
    ocrs: tuple[OcrResult, ...] = ()
    trace: Trace | None = field(default=None, repr=False)
    conversation: Conversation | None = field(default=None, repr=False)
    drawer: MapDrawer | None = field(default=None, repr=False)
    checks: tuple[Check, ...] = ()
    replay: Replay | None = field(default=None, repr=False)

    @property
    def unfinished(self) -> bool:
        """Whether the model might have gone on."""
        return self.stopped or self.full or self.cut > 0

    @property
    def shortened(self) -> str:
        """A sentence about why it ends before its end; empty where the model or the person ended it."""
        return CUT if self.cut else FULL if self.full else ""

    @property
    def written(self) -> tuple[Token, ...]:
        """The tokens of the model that generated the answer: ``tokens``, unless they are those of a replay."""
        return self.replay.tokens if self.replay and self.replay.tokens else self.tokens

    @property
    def replayed(self) -> str:
        """A sentence or two about an answer that a server wrote: what of it was seen here, and by which model; empty
        where the same model wrote it and gives its attention."""
        if self.replay is None or not self.replay.tokens:
            return ""
        if self.replay.agreement is None:
            return UNREAD.format(self.model, self.replay.problem)
        return REPLAYED.format(self.model, self.replay.by, self.replay.agreement)

    @property
    def view(self) -> View:
        """The first picture."""
        return self.views[0]

    def heatmap(
        self,
        word: str | Word | SupportsIndex,
        image: int = 0,
        method: str | None = None,
        layer: int | None = None,
        head: int | None = None,
    ) -> np.ndarray:
        """Where the model attended in the steps that wrote ``word``; those of its punctuation are left out.

        Args:
            word, image, layer, head: see `MapRequest`.
            method: a free one of ``contracts.heatmap_methods.TABLE``; None = the checkpoint's default.
                `Pipeline.heatmap` draws those too that need the model.
        Returns:
            float32 [H, W] in the upload's own pixels, 0..1.
        Raises:
            WordNotInAnswer: the answer does not hold the word or the token; lists the words.
            VlmDemoError: no attention was recorded, or there is no such picture, method, layer or head.
        """
        return self._drawer().heatmap(self, MapRequest(word, image, method, layer, head))

    def cells(
        self,
        word: str | Word | SupportsIndex,
        image: int = 0,
        method: str | None = None,
        layer: int | None = None,
        head: int | None = None,
    ) -> np.ndarray:
        """What `heatmap` is drawn from, with the same arguments: float [patches] of the picture, row by row of its
        view's grid.

        Raises:
            WordNotInAnswer, VlmDemoError: as `heatmap` does.
        """
        return self._drawer().cells(self, MapRequest(word, image, method, layer, head))

    def _drawer(self) -> MapDrawer:
        if self.trace is None or self.drawer is None:
            raise self._unrecorded()
        return self.drawer

    def _unrecorded(self) -> VlmDemoError:
        if self.replay is not None and self.replay.problem:
            return VlmDemoError(self.replay.problem)
        return VlmDemoError("No attention was recorded for this answer: choose a model that can explain itself.")

    def attention(self, word: str | Word | SupportsIndex, image: int = 0) -> np.ndarray:
        """The weights on each patch of one picture, the mean of the steps that wrote ``word``.

        Returns:
            float32 [layers, heads, patches]; with ``shares`` of all pictures together each head's weights sum to 1.
        Raises:
            WordNotInAnswer, VlmDemoError: as `heatmap` does.
        """
        if self.trace is None:
            raise self._unrecorded()
        return self.trace.rows(image % len(self.views), self.steps(word)).mean(0)

    def shares(self, word: str | Word | SupportsIndex) -> Shares | None:
        """Where the language model's attention went in the steps that wrote ``word``, the mean over all layers and
        heads; None as for `picture_share`.

        Raises:
            WordNotInAnswer: as `heatmap` does.
        """
        trace = self.trace
        if trace is None or trace.text is None or trace.first is None:
            return None
        steps = self.steps(word)
        picture = float(trace.image[steps].sum(-1, dtype="float32").mean())
        text, first = (float(part[steps].mean(dtype="float32")) for part in (trace.text, trace.first))
        return Shares(picture, text, first)

    def picture_share(self, word: str | Word | SupportsIndex) -> float | None:
        """How much of the language model's attention went to the pictures in the steps that wrote ``word``, 0..1: the
        mean over all layers and heads; None where no attention was recorded, or where the layers that look at pictures
        see nothing else, so that it would be all of it.

        Raises:
            WordNotInAnswer: as `heatmap` does.
        """
        shares = self.shares(word)
        return None if shares is None else shares.picture

    def steps(self, word: str | Word | SupportsIndex) -> list[int]:
        """The indices of the tokens that wrote ``word``, without those of its punctuation.

        Raises:
            WordNotInAnswer: as `heatmap` does.
        """
        if not isinstance(word, str | Word):
            index = operator.index(word)
            if not 0 <= index < len(self.tokens):
                raise WordNotInAnswer(f"There is no token {index}: the answer has {len(self.tokens)}, counted from 0.")
            return [index]
        if isinstance(word, Word):
            wanted, found = word.text, [word] if word in self.words else []
        else:
            others = [_bare(other.text) for other in self.words]
            wanted, found = word, [self.words[i] for i in _find([_bare(part) for part in word.split()], others) or ()]
        if not found:
            words = ", ".join(dict.fromkeys(other.text for other in self.words)) or "none"
            raise WordNotInAnswer(f"The answer does not hold “{wanted}”: choose from its words ({words}).")
        return sorted({step for match in found for step in self._written(match)})

    def _written(self, word: Word) -> list[int]:
        """The tokens of ``word`` that hold a letter or a digit, or all of them where none does."""
        steps, counts = [], False
        for i in reversed(range(word.start, word.stop)):
            if self.tokens[i].text:  # one without is the first bytes of the character that the next one ends
                counts = any(character.isalnum() for character in self.tokens[i].text)
            if counts:
                steps.append(i)
        return steps[::-1] or list(range(word.start, word.stop))


def _bare(word: str) -> str:
    """Case-folded and without punctuation around it; a word of nothing but punctuation stays as it is."""
    return (_EDGES.sub("", word) or word).casefold()


def _find(wanted: Sequence[str], words: Sequence[str]) -> list[int] | None:
    """The indices of ``wanted`` in ``words``: as a phrase if it occurs, or else each word's first occurrence."""
    if not wanted:
        return None
    for i in range(len(words) - len(wanted) + 1):
        if list(words[i : i + len(wanted)]) == list(wanted):
            return list(range(i, i + len(wanted)))
    return [words.index(word) for word in wanted] if set(wanted) <= set(words) else None
