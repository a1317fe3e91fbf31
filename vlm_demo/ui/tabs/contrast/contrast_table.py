"""Contrast table: pictures and texts of one page, and the models' scores of each pair. Knows no HTML and no engine."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from vlm_demo.images.open import Page
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.pictures import thumbnail

if TYPE_CHECKING:
    from PIL import Image

    from vlm_demo.images.open import Source

MOST_PICTURES, MOST_TEXTS = 8, 12
LONGEST = 300  # characters of a text
MOST_WORDS = 24  # of a text for leave-one-word-out scores
MAPS = 36  # cached maps: three pictures with all their texts
CHAT, UPLOADED, EXAMPLE = "chat", "own", "example"
TEXTS = (
    "a photo of a person",
    "a photo of an animal",
    "a photo of food",
    "a photo of a street",
    "a drawing or a chart",
    "a page of text",
)
VISIBLE_DIFFERENCE = 0.0005  # a difference that is visible in three decimals, as similarities are shown
VISIBLE_MATCH_DIFFERENCE = 0.01  # one that is visible in two, as matches are shown


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of the table.

    Attributes:
        key: of its content and page; a secret hash.
        source: as an engine takes it.
        thumbnail: a data URI.
        origin: ``chat``, ``own`` or ``example``.
    """

    key: str
    source: Source = field(repr=False)
    thumbnail: str = field(repr=False)
    origin: str

    @classmethod
    def of(cls, content: bytes, page: int | None, preview: str, origin: str) -> Picture:
        """From a file, or one page or frame of it; ``preview`` is a data URI of it."""
        key = hashlib.blake2b(content, digest_size=8, key=str(page).encode()).hexdigest()
        return cls(key, content if page is None else Page(content, page), thumbnail(preview), origin)


@dataclass(frozen=True)
class PairScore:
    """A model's scores of one picture and one text: their cosine -1..1 (ITC), and the probability 0..1 that they match
    (ITM); None where it has no ITM head."""

    similarity: float
    match: float | None


@dataclass(frozen=True)
class Hidden:
    """The cosine of a picture and a text: with the picture whole, with the map's top tenth hidden, and with as much
    hidden elsewhere (the mean of some places)."""

    whole: float
    marked: float
    elsewhere: float


@dataclass
class ModelFacts:
    """Facts about a model that has scored: its name, its number of parameters (None = not known), its learned
    temperature, whether it has an ITM head, and seconds a picture (ITC) and a pair (ITM)."""

    name: str
    parameters: int | None
    temperature: float
    matches: bool
    picture_seconds: float
    pair_seconds: float | None


Pair = tuple[str, str, str]  # model, picture's key, text


@dataclass(eq=False)
class ContrastTable:
    """One page's pictures and texts, the selected pair, and the results.

    Attributes:
        examples: pictures that are shown where there are no others.
        texts: by number, in the order in which they are shown.
        uploaded: pictures that were uploaded here; ``chat`` are those of the conversation, oldest first.
        removed: keys of pictures that were removed from the table.
        model: the ITC model, as the menu calls it; empty = the default.
        judge: the ITM model where ``model`` has no ITM head; empty = none.
        picture, text: of the selected pair; None = the newest picture, the text that fits it best.
        leave_one_out: pair → the cosine with each of the text's words left out, in their order.
        failed: pairs that can't be scored, and why; a map's failure is stored under its text with "map:" before it.
        outside: (model, picture's key) of out-of-distribution pictures.
        problem: the last error, as a sentence.
        doing: a sentence of what is being computed.
    """

    examples: tuple[Picture, ...] = ()
    texts: dict[int, str] = field(default_factory=lambda: dict(enumerate(TEXTS)))
    uploaded: list[Picture] = field(default_factory=list)
    chat: list[Picture] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)
    model: str = ""
    judge: str = ""
    picture: str | None = None
    text: int | None = None
    scores: dict[Pair, PairScore] = field(default_factory=dict)
    heats: dict[Pair, np.ndarray] = field(default_factory=dict)
    hidden: dict[Pair, Hidden] = field(default_factory=dict)
    leave_one_out: dict[Pair, tuple[float, ...]] = field(default_factory=dict)
    failed: dict[Pair, str] = field(default_factory=dict)
    facts: dict[str, ModelFacts] = field(default_factory=dict)
    images: dict[str, Image.Image] = field(default_factory=dict)
    outside: set[tuple[str, str]] = field(default_factory=set)
    problem: str = ""
    doing: str = ""
    fraction: float | None = None
    _chat_pictures: dict[tuple[int, int], Picture] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(len(TEXTS)))

    # -- pictures and texts ---------------------------------------------------------------------------------------

    def conversation_changed(self, turns: Iterable[ChatTurn]) -> None:
        """The conversation has changed: update its pictures, and drop the results of removed ones."""
        known, self._chat_pictures, found = self._chat_pictures, {}, dict[str, Picture]()
        for turn in turns:
            pages = turn.pages or (None,) * len(turn.pictures)
            for index, (content, page, preview) in enumerate(zip(turn.pictures, pages, turn.previews, strict=True)):
                place = turn.ticket, index
                picture = known.get(place) or Picture.of(content, page, preview, CHAT)
                self._chat_pictures[place] = picture
                found.pop(picture.key, None)  # asked about again: it is the newest
                found[picture.key] = picture
        self.chat = list(found.values())
        self._drop_unused()

    def add(self, picture: Picture) -> bool:
        """Add an upload; returns whether there was room for it. One that is there already is only selected."""
        self.removed.discard(picture.key)
        if picture.key not in {other.key for other in (*self.uploaded, *self._on_table(self.chat))}:
            if len(self.uploaded) >= MOST_PICTURES:
                return False
            self.uploaded.append(picture)
        self.picture, self.text = picture.key, None
        return True

    def remove_picture(self, key: str) -> None:
        """Remove a picture from the table; one of the conversation stays in the conversation."""
        self.removed.add(key)
        self.uploaded = [picture for picture in self.uploaded if picture.key != key]
        self._drop_unused()

    def reword(self, number: int | None, text: str) -> None:
        """Set the text of a row, or of a new row (None), which is selected; an empty one removes its row, unless it is
        the last."""
        text = " ".join(text.split())[:LONGEST]
        if number is None and text and len(self.texts) < MOST_TEXTS:
            self.text = next(self._numbers)
            self.texts[self.text] = text
        elif number in self.texts and text:
            self.texts[number] = text
        elif number in self.texts and len(self.texts) > 1:
            del self.texts[number]
        self._drop_unused()

    @property
    def pictures(self) -> list[Picture]:
        """The table's pictures, at most `MOST_PICTURES`: the conversation's newest, then those uploaded here; or else
        the examples."""
        uploaded = self.uploaded[:MOST_PICTURES]
        chat = [
            picture for picture in self._on_table(self.chat) if picture.key not in {other.key for other in uploaded}
        ]
        room = MOST_PICTURES - len(uploaded)
        shown = [*chat[max(0, len(chat) - room) :], *uploaded]
        return shown or self._on_table(self.examples)

    def _on_table(self, pictures: Iterable[Picture]) -> list[Picture]:
        return [picture for picture in pictures if picture.key not in self.removed]

    def _drop_unused(self) -> None:
        """Drop the results of pictures and texts that are no longer on the table."""
        keys = {picture.key for picture in (*self.uploaded, *self.chat, *self.examples)}
        texts = set(self.texts.values()) | {_map(text) for text in self.texts.values()}
        for found in (self.scores, self.heats, self.hidden, self.leave_one_out, self.failed):
            for pair in [pair for pair in found if pair[1] not in keys or pair[2] not in texts]:
                del found[pair]
        self.images = {key: image for key, image in self.images.items() if key in keys}
        self.outside = {pair for pair in self.outside if pair[1] in keys}

    # -- the selection --------------------------------------------------------------------------------------------

    @property
    def chosen(self) -> Picture | None:
        """The selected picture."""
        shown = self.pictures
        newest = next((picture for picture in reversed(shown) if picture.origin == CHAT), shown[0] if shown else None)
        return next((picture for picture in shown if picture.key == self.picture), newest)

    def chosen_text(self, model: str) -> int | None:
        """The number of the selected text; None while the picture has no scores."""
        if self.text in self.texts:
            return self.text
        picture = self.chosen
        known = {number: self.score(model, picture, text) for number, text in self.texts.items() if picture}
        found = {number: score.similarity for number, score in known.items() if score}
        return max(found, key=found.__getitem__) if found else None

    # -- results --------------------------------------------------------------------------------------------------

    def score(self, model: str, picture: Picture, text: str) -> PairScore | None:
        """The model's scores of a pair; None where there are none."""
        return self.scores.get((model, picture.key, text))

    def unscored(self, model: str, picture: Picture) -> list[str]:
        """The texts that the model has still to score."""
        pairs = ((model, picture.key, text) for text in dict.fromkeys(self.texts.values()))
        return [pair[2] for pair in pairs if pair not in self.scores and pair not in self.failed]

    def unmapped(self, model: str) -> list[str]:
        """The texts whose maps over the selected picture are missing, the selected text first."""
        picture, first = self.chosen, self.chosen_text(model)
        if picture is None or first is None:
            return []
        texts = dict.fromkeys((self.texts[first], *self.texts.values()))
        pairs = [(model, picture.key, text) for text in texts]
        return [
            pair[2]
            for pair in pairs
            if pair in self.scores and pair not in self.heats and (*pair[:2], _map(pair[2])) not in self.failed
        ]

    def remember_map(self, pair: Pair, heat: np.ndarray) -> None:
        """Cache a map, and drop the oldest of many."""
        self.heats[pair] = heat
        if len(self.heats) > MAPS:
            del self.heats[next(iter(self.heats))]

    def fail_map(self, pair: Pair, problem: str) -> None:
        """Record that this map can't be drawn."""
        self.failed[(*pair[:2], _map(pair[2]))] = problem

    def map_problem(self, pair: Pair) -> str:
        """Why a map can't be drawn; empty where it can."""
        return self.failed.get((*pair[:2], _map(pair[2])), "")


def _map(text: str) -> str:
    return f"map:{text}"


def shortened(text: str) -> list[str]:
    """The text with each of its words left out, in their order; nothing where it has only one, or very many."""
    words = text.split()
    if not 1 < len(words) <= MOST_WORDS:
        return []
    return [" ".join((*words[:at], *words[at + 1 :])) for at in range(len(words))]


def softmax(similarities: Sequence[float], temperature: float) -> list[float]:
    """The probabilities 0..1, together 1, of similarity / temperature."""
    scaled = np.asarray(similarities, np.float64) / temperature
    raised = np.exp(scaled - scaled.max())
    return (raised / raised.sum()).tolist()


def disagreement(similarities: Sequence[float], matches: Sequence[float]) -> tuple[int, int] | None:
    """Where ITC and ITM disagree: two texts of one picture of which the first is more similar to it and the second the
    better match, with the largest difference of match; None where both give the same order, as far as the shown figures
    tell."""
    pairs = [
        (first, other)
        for first, other in itertools.permutations(range(len(similarities)), 2)
        if similarities[first] - similarities[other] >= VISIBLE_DIFFERENCE
        and matches[other] - matches[first] >= VISIBLE_MATCH_DIFFERENCE
    ]
    return max(pairs, key=lambda pair: matches[pair[1]] - matches[pair[0]], default=None)


def mean_correlation(heats: Sequence[np.ndarray]) -> float | None:
    """The mean pairwise correlation of maps over one picture, -1..1; None where fewer than two of them vary."""
    flat = [heat.ravel() for heat in heats if heat.std() > 0]
    if len(flat) < 2:
        return None
    correlations = np.corrcoef(np.stack(flat))
    return float(correlations[np.triu_indices(len(flat), 1)].mean())
