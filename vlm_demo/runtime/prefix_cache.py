"""Reading: a prompt → the pieces in which it is read, and what is remembered of its beginning.

Keys and values of a token depend on what stands before it and nothing else, so two prompts that begin alike share them:
all questions about one picture as far as the picture, and a chat as far as its last answer.

    |<system, picture>|<question> <answer:>|<answer> <question> <answer:>|      a piece is read in one pass

A piece of more than ``LONGEST`` tokens is read in several passes, so that other requests' tokens may come in between.

Every prompt is read in these pieces, remembered or not. Matrix products of other shapes round differently, so only thus
an answer is the same to the last bit with and without a memory; and what an answer's own steps left is not used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicSlidingWindowLayer

from vlm_demo.contracts import ImageTokens, Prompt
from vlm_demo.runtime.kv_cache import RoomyLayer, empty
from vlm_demo.runtime.lru_store import LruStore, size_of

if TYPE_CHECKING:
    from vlm_demo.models.adapters import Writer


LONGEST = 256  # tokens of one pass


@dataclass(frozen=True, eq=False)
class Text:
    """A prompt as far as it decides what is shared.

    Attributes:
        ids: int64 [tokens].
        stops: where its pieces end, the last one at its end.
        pictures: the name of each picture.
        starts: the first token that depends on each picture.
    """

    ids: np.ndarray
    stops: tuple[int, ...]
    pictures: tuple[str, ...]
    starts: tuple[int, ...]

    def shared(self, other: Text) -> int:
        """How many first tokens, in whole pieces, are the same in both."""
        length = min(len(self.ids), len(other.ids))
        differing = np.flatnonzero(self.ids[:length] != other.ids[:length])
        alike = int(differing[0]) if len(differing) else length
        pairs = zip(self.pictures, other.pictures, strict=False)
        same = next((i for i, (own, theirs) in enumerate(pairs) if own != theirs), None)
        same = min(len(self.pictures), len(other.pictures)) if same is None else same
        alike = min(alike, *self.starts[same : same + 1], *other.starts[same : same + 1], length)
        whole = 0
        for own, theirs in zip(self.stops, other.stops, strict=False):
            if own != theirs or own > alike:
                break
            whole = own
        return whole


@dataclass(frozen=True, eq=False)
class Reading:
    """What the language model has made of a prompt: keys and values [1, heads, tokens, d] of each layer."""

    text: Text
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @property
    def key(self) -> tuple[str, bytes, tuple[str, ...]]:
        return "reading", self.text.ids.tobytes(), self.text.pictures


@dataclass(frozen=True)
class Begun:
    """A prompt whose first ``known`` tokens are in the cache, and the ``pieces`` [start, stop) still to be read."""

    text: Text
    cache: DynamicCache
    known: int
    pieces: tuple[tuple[int, int], ...]
    kept: bool


class Readings:
    """What one language model remembers of prompts, within a store's budget."""

    def __init__(self, family: Writer, store: LruStore) -> None:
        self.family, self.store = family, store

    def begin(self, prompt: Prompt, image_tokens: ImageTokens) -> Begun:
        """Look for the reading that shares most with the prompt. Image tokens without names are met with no memory."""
        text = self._text(prompt, image_tokens)
        cache = empty(self.family.language_model.config)
        named = len(text.pictures) == len(image_tokens.counts) > 0
        kept = bool(named and self.store.budget and all(_plain(layer) for layer in cache.layers))
        known = 0
        if kept:
            for layer in _sliding(cache):
                # A full window can't be cut back, so it is opened while the prompt is read.
                layer.activate_past_recording()
            known = self._resume(text, cache)
        starts = (known, *(stop for stop in text.stops[:-1] if stop > known))
        pieces = tuple(zip(starts, (*starts[1:], text.stops[-1]), strict=True))
        if not (self.family.sees_ahead or self.family.pictures_see_ahead):
            pieces = tuple(part for piece in pieces for part in parts_of(*piece))
        return Begun(text, cache, known, pieces, kept)

    def keep(self, begun: Begun) -> None:
        """Remember a prompt that has been read to its end, in place of readings of nothing but its beginning."""
        if not begun.kept:
            return
        reading = Reading(begun.text, tuple((layer.keys, layer.values) for layer in begun.cache.layers))
        for layer in _sliding(begun.cache):
            layer.crop(0)
            layer.record_past = False
        for other in self.store.of(Reading):
            shared = other.text.shared(begun.text)
            if shared == len(begun.text.ids):
                return
            if shared == len(other.text.ids):
                self.store.drop(other.key)
        self.store.put(reading.key, reading, size_of(tensor for pair in reading.layers for tensor in pair))

    def _resume(self, text: Text, cache: DynamicCache) -> int:
        """Fill the cache with the longest beginning that is remembered; the last piece is read in any case."""
        beginning = Text(text.ids, text.stops[:-1], text.pictures, text.starts)
        found = self.store.of(Reading)
        known, best = max(((own.text.shared(beginning), i) for i, own in enumerate(found)), default=(0, 0))
        reading = self.store.get(found[best].key) if known else None
        if reading is None:
            return 0
        for i, (layer, (keys, values)) in enumerate(zip(cache.layers, reading.layers, strict=True)):
            layer.lazy_initialization(keys, values)
            held = slice(None) if i in self.family.picture_layers else slice(known)
            # Nothing writes into these: a layer that was given its past moves before it grows.
            layer.keys, layer.values = keys[..., held, :], values[..., held, :]
            if layer.is_sliding:
                layer.cumulative_length = known
        return known

    def _text(self, prompt: Prompt, image_tokens: ImageTokens) -> Text:
        if self.family.among_words:
            firsts = np.cumsum((0, *image_tokens.counts))[:-1]
            starts = tuple(prompt.image_positions[first] for first in firsts)
        else:
            # Words before a picture's mark look at it too, in one way or another.
            starts = (0,) * len(image_tokens.counts)
        stops = () if self.family.sees_ahead else tuple(stops_of(prompt))
        return Text(np.array(prompt.ids), (*stops, len(prompt.ids)), image_tokens.names, starts)


def parts_of(start: int, stop: int) -> Iterable[tuple[int, int]]:
    """A piece as passes of about the same length, none longer than ``LONGEST``."""
    count = -(-(stop - start) // LONGEST)
    marks = [start + (stop - start) * i // count for i in range(count + 1)]
    return zip(marks, marks[1:], strict=False)


def stops_of(prompt: Prompt) -> Iterable[int]:
    """Where the pieces of a prompt end, but for the last: before the words that follow pictures, and before each answer
    of the history."""
    before, said = "", 0
    for segment in prompt.segments:
        if segment.kind == "template":
            continue
        said += segment.kind == "history"
        answer = segment.kind == "history" and said % 2 == 0
        if segment.start > 0 and segment.kind != "image" and (answer or before == "image"):
            yield segment.start
        before = segment.kind


def _plain(layer: object) -> bool:
    """Whether a layer's past can be cut anywhere: that of linear attention, one state, can't."""
    return type(layer) in (RoomyLayer, DynamicSlidingWindowLayer)


def _sliding(cache: DynamicCache) -> list[DynamicSlidingWindowLayer]:
    return [layer for layer in cache.layers if isinstance(layer, DynamicSlidingWindowLayer)]
