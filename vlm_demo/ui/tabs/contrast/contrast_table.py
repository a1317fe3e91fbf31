"""Contrast table: some pictures and some texts of one page, and what models said of each pair. Knows no HTML and no
engine."""

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
MOST_WORDS = 24  # of a text whose words are left out one by one
MAPS = 36  # maps that are remembered: three pictures with all their texts
CHAT, OWN, EXAMPLE = "chat", "own", "example"
TEXTS = (
    "a photo of a person",
    "a photo of an animal",
    "a photo of food",
    "a photo of a street",
    "a drawing or a chart",
    "a page of text",
)
SEEN = 0.0005  # a difference that shows in three decimals, as similarities are written
SEEN_MATCH = 0.01  # one that shows in two, as matches are


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
        """A file, of which one page or frame is meant, or all of it (None); ``preview`` is a data URI of it."""
        key = hashlib.blake2b(content, digest_size=8, key=str(page).encode()).hexdigest()
        return cls(key, content if page is None else Page(content, page), thumbnail(preview), origin)


@dataclass(frozen=True)
class Score:
    """What a model says of one picture and one text: their cosine -1..1, and the probability 0..1 that they match;
    None where it has no head that reads both together."""

    similarity: float
    match: float | None


@dataclass(frozen=True)
class Hidden:
    """The cosine of a picture and a text: as it is, with the tenth hidden that the map marks, and with as much hidden
    elsewhere (the mean of some places)."""

    whole: float
    marked: float
    elsewhere: float


@dataclass
class ModelFacts:
    """What is known of a model since it scored: its name, how many parameters it has (None = not known), its learned
    temperature, whether it reads picture and text together, and seconds a picture and a pair that is read together."""

    name: str
    parameters: int | None
    temperature: float
    matches: bool
    picture_seconds: float
    pair_seconds: float | None


Pair = tuple[str, str, str]  # model, picture's key, text


@dataclass(eq=False)
class ContrastTable:
    """One page's pictures and texts, which pair is looked at, and what was found.

    Attributes:
        examples: pictures that stand in where there are no others.
        texts: by number, in the order in which they are shown.
        own: pictures that were uploaded here; ``chat`` are those of the conversation, oldest first.
        away: keys of pictures that were taken off the table.
        model: what compares, as the menu calls it; empty = the usual one.
        judge: whose ITM is shown where ``model`` has none; empty = nobody's.
        picture, text: of the pair that is looked at; None = the newest picture, the text that fits it best.
        without: pair → the cosine with each of the text's words left out, in their order.
        failed: pairs that can't be scored, and why; a map's failure is kept under the text "map:" before it.
        outside: (model, picture's key) of pictures that are unlike what the model was trained on.
        problem: a sentence of what went wrong last.
        doing: a sentence of what is being computed.
    """

    examples: tuple[Picture, ...] = ()
    texts: dict[int, str] = field(default_factory=lambda: dict(enumerate(TEXTS)))
    own: list[Picture] = field(default_factory=list)
    chat: list[Picture] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    model: str = ""
    judge: str = ""
    picture: str | None = None
    text: int | None = None
    scores: dict[Pair, Score] = field(default_factory=dict)
    heats: dict[Pair, np.ndarray] = field(default_factory=dict)
    hidden: dict[Pair, Hidden] = field(default_factory=dict)
    without: dict[Pair, tuple[float, ...]] = field(default_factory=dict)
    failed: dict[Pair, str] = field(default_factory=dict)
    facts: dict[str, ModelFacts] = field(default_factory=dict)
    images: dict[str, Image.Image] = field(default_factory=dict)
    outside: set[tuple[str, str]] = field(default_factory=set)
    problem: str = ""
    doing: str = ""
    fraction: float | None = None
    _from: dict[tuple[int, int], Picture] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(len(TEXTS)))

    # -- pictures and texts ---------------------------------------------------------------------------------------

    def follow(self, turns: Iterable[ChatTurn]) -> None:
        """The conversation has changed: its pictures are those of the table, and what is known of others is let go."""
        known, self._from, found = self._from, {}, dict[str, Picture]()
        for turn in turns:
            pages = turn.pages or (None,) * len(turn.pictures)
            for index, (content, page, preview) in enumerate(zip(turn.pictures, pages, turn.previews, strict=True)):
                place = turn.ticket, index
                picture = known.get(place) or Picture.of(content, page, preview, CHAT)
                self._from[place] = picture
                found.pop(picture.key, None)  # asked about again: it is the newest
                found[picture.key] = picture
        self.chat = list(found.values())
        self._let_go()

    def add(self, picture: Picture) -> bool:
        """An upload; returns whether there was room for it. One that lies there already is only looked at."""
        self.away.discard(picture.key)
        if picture.key not in {own.key for own in (*self.own, *self._kept(self.chat))}:
            if len(self.own) >= MOST_PICTURES:
                return False
            self.own.append(picture)
        self.picture, self.text = picture.key, None
        return True

    def remove_picture(self, key: str) -> None:
        """Take a picture off the table; one of the conversation stays in the conversation."""
        self.away.add(key)
        self.own = [own for own in self.own if own.key != key]
        self._let_go()

    def reword(self, number: int | None, text: str) -> None:
        """Another text in a row, or a new row (None), which is looked at; an empty one takes its row away, as long as
        there is another."""
        text = " ".join(text.split())[:LONGEST]
        if number is None and text and len(self.texts) < MOST_TEXTS:
            self.text = next(self._numbers)
            self.texts[self.text] = text
        elif number in self.texts and text:
            self.texts[number] = text
        elif number in self.texts and len(self.texts) > 1:
            del self.texts[number]
        self._let_go()

    @property
    def pictures(self) -> list[Picture]:
        """Those on the table, at most `MOST_PICTURES`: the conversation's newest, then those uploaded here; or else
        the examples."""
        own = self.own[:MOST_PICTURES]
        chat = [picture for picture in self._kept(self.chat) if picture.key not in {other.key for other in own}]
        room = MOST_PICTURES - len(own)
        shown = [*chat[max(0, len(chat) - room) :], *own]
        return shown or self._kept(self.examples)

    def _kept(self, pictures: Iterable[Picture]) -> list[Picture]:
        return [picture for picture in pictures if picture.key not in self.away]

    def _let_go(self) -> None:
        """Forget what is known of pictures that are gone, and of texts that nobody asks about any more."""
        keys = {own.key for own in (*self.own, *self.chat, *self.examples)}
        said = set(self.texts.values()) | {_map(text) for text in self.texts.values()}
        for found in (self.scores, self.heats, self.hidden, self.without, self.failed):
            for pair in [pair for pair in found if pair[1] not in keys or pair[2] not in said]:
                del found[pair]
        self.images = {key: image for key, image in self.images.items() if key in keys}
        self.outside = {pair for pair in self.outside if pair[1] in keys}

    # -- what is looked at ----------------------------------------------------------------------------------------

    @property
    def chosen(self) -> Picture | None:
        """The picture that is looked at."""
        shown = self.pictures
        newest = next((own for own in reversed(shown) if own.origin == CHAT), shown[0] if shown else None)
        return next((own for own in shown if own.key == self.picture), newest)

    def chosen_text(self, model: str) -> int | None:
        """The number of the text that is looked at; None as long as nothing is known of the picture."""
        if self.text in self.texts:
            return self.text
        picture = self.chosen
        known = {number: self.score(model, picture, text) for number, text in self.texts.items() if picture}
        found = {number: score.similarity for number, score in known.items() if score}
        return max(found, key=found.__getitem__) if found else None

    # -- what was found -------------------------------------------------------------------------------------------

    def score(self, model: str, picture: Picture, text: str) -> Score | None:
        """What the model said of a pair; None as long as it has not, or can't."""
        return self.scores.get((model, picture.key, text))

    def unscored(self, model: str, picture: Picture) -> list[str]:
        """The texts that the model has to be asked about."""
        pairs = ((model, picture.key, text) for text in dict.fromkeys(self.texts.values()))
        return [pair[2] for pair in pairs if pair not in self.scores and pair not in self.failed]

    def unmapped(self, model: str) -> list[str]:
        """The texts whose maps over the chosen picture are missing, the one that is looked at first."""
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

    def keep_map(self, pair: Pair, heat: np.ndarray) -> None:
        """Remember a map, and forget the oldest of many."""
        self.heats[pair] = heat
        if len(self.heats) > MAPS:
            del self.heats[next(iter(self.heats))]

    def fail_map(self, pair: Pair, problem: str) -> None:
        """This map can't be drawn."""
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


def parting(similarities: Sequence[float], matches: Sequence[float]) -> tuple[int, int] | None:
    """Where ITC and ITM part: two texts of one picture of which the first is more similar to it and the second the
    better match, those that the match sets furthest apart; None where they put all texts in the same order, as far as
    the figures that are shown tell."""
    pairs = [
        (one, other)
        for one, other in itertools.permutations(range(len(similarities)), 2)
        if similarities[one] - similarities[other] >= SEEN and matches[other] - matches[one] >= SEEN_MATCH
    ]
    return max(pairs, key=lambda pair: matches[pair[1]] - matches[pair[0]], default=None)


def alike(heats: Sequence[np.ndarray]) -> float | None:
    """How alike maps over one picture are: the mean correlation of two of them, -1..1; None where there are not two
    that vary."""
    flat = [heat.ravel() for heat in heats if heat.std() > 0]
    if len(flat) < 2:
        return None
    among = np.corrcoef(np.stack(flat))
    return float(among[np.triu_indices(len(flat), 1)].mean())
