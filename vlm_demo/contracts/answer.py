"""Answer: what came of one question, with everything that made it, and its heatmaps.

Holds results only; no model is needed to look at it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, SupportsIndex

from vlm_demo.contracts import Memory, OcrResult, Prompt, Timings, Token, Turn, View, Word
from vlm_demo.errors import VlmDemoError, WordNotInAnswer

if TYPE_CHECKING:
    import numpy as np

    from vlm_demo.explain.heatmap import Trace

CUT = "The model began to repeat itself, so the answer was cut there."
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")


@dataclass(frozen=True)
class Shares:
    """What attention rested on, each 0..1, together 1: the pictures, the text, and the first token, where heads rest
    that look at nothing."""

    picture: float
    text: float
    first: float


@dataclass(frozen=True)
class Asked:
    """What the prompt was made of beside the pictures and the text that was read in them, so that it can be made again
    of other text. ``history`` holds None in place of each picture."""

    question: str
    evidence_only: bool = False
    history: tuple[Turn, ...] = ()
    system: str = ""


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
            without end; ``CUT`` says so. They are nowhere in this answer.
        trace: the attention rows that heatmaps are made of; None where the model gives none.
        asked: what ``prompt`` was made of; None in an answer that no pipeline gave.
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
    ocrs: tuple[OcrResult, ...] = ()
    trace: Trace | None = field(default=None, repr=False)
    asked: Asked | None = field(default=None, repr=False)

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
        """Where the model looked in the steps that wrote ``word``; those of its punctuation are left out.

        Args:
            word: its first occurrence counts, whatever its case and punctuation; several words give the mean of their
                steps; one of ``words`` is meant where it stands; a number is the index of a token.
            image: which of ``views``.
            method: a free one of ``explain.methods.TABLE``; None = the checkpoint's default. `Pipeline.heatmap` draws
                those too that need the model.
            layer, head: a single one, counted from 0, of ``raw`` attention.
        Returns:
            float32 [H, W] in the upload's own pixels, 0..1.
        Raises:
            WordNotInAnswer: the answer does not hold the word or the token; lists the words.
            VlmDemoError: no attention was recorded, or there is no such picture, method, layer or head.
        """
        from vlm_demo.explain import methods

        return methods.draw(*methods.request(self, word, image, method, layer, head))

    def attention(self, word: str | Word | SupportsIndex, image: int = 0) -> np.ndarray:
        """The weights on each patch of one picture, the mean of the steps that wrote ``word``.

        Returns:
            float32 [layers, heads, patches]; with ``shares`` of all pictures together each head's weights sum to 1.
        Raises:
            WordNotInAnswer, VlmDemoError: as `heatmap` does.
        """
        if self.trace is None:
            raise VlmDemoError("No attention was recorded for this answer: choose a model that can explain itself.")
        return self.trace.rows(image % len(self.views), self.steps(word)).mean(0)

    def shares(self, word: str | Word | SupportsIndex) -> Shares | None:
        """What the language model's attention rested on in the steps that wrote ``word``, the mean over all layers and
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
        """How much of the language model's attention rested on the pictures in the steps that wrote ``word``, 0..1: the
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
            asked, found = word.text, [word] if word in self.words else []
        else:
            held = [_bare(own.text) for own in self.words]
            asked, found = word, [self.words[i] for i in _find([_bare(part) for part in word.split()], held) or ()]
        if not found:
            said = ", ".join(dict.fromkeys(own.text for own in self.words)) or "none"
            raise WordNotInAnswer(f"The answer does not hold “{asked}”: choose from its words ({said}).")
        return sorted({step for own in found for step in self._written(own)})

    def _written(self, word: Word) -> list[int]:
        """The tokens of ``word`` that hold a letter or a digit, or all of them where none does."""
        steps, telling = [], False
        for i in reversed(range(word.start, word.stop)):
            if self.tokens[i].text:  # one without is the first bytes of the character that the next one ends
                telling = any(character.isalnum() for character in self.tokens[i].text)
            if telling:
                steps.append(i)
        return steps[::-1] or list(range(word.start, word.stop))


def _bare(word: str) -> str:
    """Folded and without punctuation around it; a word of nothing but punctuation stays as it is."""
    return (_EDGES.sub("", word) or word).casefold()


def _find(wanted: Sequence[str], held: Sequence[str]) -> list[int] | None:
    """The places of ``wanted`` in ``held``: as a phrase if it stands there, or else each word's first place."""
    if not wanted:
        return None
    for i in range(len(held) - len(wanted) + 1):
        if list(held[i : i + len(wanted)]) == list(wanted):
            return list(range(i, i + len(wanted)))
    return [held.index(word) for word in wanted] if set(wanted) <= set(held) else None


class Writing:
    """Token ids as they come → texts that join to the answer.

    A token may end inside a character; its text is then empty, and the one that ends the character brings it.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self.tokens: list[Token] = []
        self.text = ""
        self._ended = False

    def add(self, id_: int, probability: float) -> Token:
        """Take the next token; returns it with its text."""
        self.ids.append(id_)
        decoded = self._decoded()
        # U+FFFD at the end stands for a character whose other bytes are still to come.
        fresh = decoded[len(self.text) :] if decoded.startswith(self.text) and not decoded.endswith("\ufffd") else ""
        self.text += fresh
        self.tokens.append(Token(fresh, id_, probability))
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
        kept, over = 0, -len(self.text)  # tokens, and the characters by which they are longer than the text
        while over < 0:
            over += len(self.tokens[kept].text)
            kept += 1
        self.ids, self.tokens = self.ids[:kept], self.tokens[:kept]
        if over:
            last = self.tokens[-1]
            self.tokens[-1] = replace(last, text=last.text[:-over])
        return True

    def finish(self) -> None:
        """No more tokens: what hung in the middle of a character belongs to the last one."""
        if self._ended:
            return
        decoded = self._decoded()
        if self.tokens and decoded != self.text and decoded.startswith(self.text):
            self.tokens[-1] = replace(self.tokens[-1], text=self.tokens[-1].text + decoded[len(self.text) :])
            self.text = decoded

    def _decoded(self) -> str:
        return self.tokenizer.decode(self.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


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
