"""Prefix cache: a prompt → the pieces in which it is prefilled, and the cached keys and values of its beginning.

Keys and values of a token depend on what stands before it and nothing else, so two prompts that begin alike share them:
all questions about one picture as far as the picture, and a chat as far as its last answer.

    |<system, picture>|<question> <answer:>|<answer> <question> <answer:>|      a piece is read in one pass

A piece of more than ``LONGEST`` tokens is read in several passes, so that other requests' tokens may come in between.

Every prompt is read in these pieces, cached or not. Matrix products of other shapes round differently, so only thus
an answer is the same to the last bit with and without a cache; and what an answer's own steps left is not used.
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
from vlm_demo.runtime.kv_cache import PreallocatedLayer, empty
from vlm_demo.runtime.lru_store import LruStore, size_of

if TYPE_CHECKING:
    from vlm_demo.models.adapters import Writer


LONGEST = 256  # tokens of one pass


@dataclass(frozen=True, eq=False)
class PromptKey:
    """What of a prompt decides how much two prompts share.

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

    def shared(self, other: PromptKey) -> int:
        """How many first tokens, in whole pieces, are the same in both."""
        length = min(len(self.ids), len(other.ids))
        differing = np.flatnonzero(self.ids[:length] != other.ids[:length])
        equal = int(differing[0]) if len(differing) else length
        pairs = zip(self.pictures, other.pictures, strict=False)
        shared_pictures = next((i for i, (left, right) in enumerate(pairs) if left != right), None)
        shared_pictures = min(len(self.pictures), len(other.pictures)) if shared_pictures is None else shared_pictures
        equal = min(
            equal,
            *self.starts[shared_pictures : shared_pictures + 1],
            *other.starts[shared_pictures : shared_pictures + 1],
            length,
        )
        whole = 0
        for left, right in zip(self.stops, other.stops, strict=False):
            if left != right or left > equal:
                break
            whole = left
        return whole


@dataclass(frozen=True, eq=False)
class CachedPrefix:
    """A prompt's keys and values [1, heads, tokens, d] of each layer."""

    text: PromptKey
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @property
    def key(self) -> tuple[str, bytes, tuple[str, ...]]:
        return "reading", self.text.ids.tobytes(), self.text.pictures


@dataclass(frozen=True)
class PrefillPlan:
    """A prompt whose first ``cached_tokens`` are in the cache, and the ``pieces`` [start, stop) still to be read."""

    text: PromptKey
    cache: DynamicCache
    cached_tokens: int
    pieces: tuple[tuple[int, int], ...]
    cacheable: bool


class PrefixCache:
    """The cached prompts of one language model, within a store's budget."""

    def __init__(self, family: Writer, store: LruStore) -> None:
        self.family, self.store = family, store

    def plan(self, prompt: Prompt, image_tokens: ImageTokens) -> PrefillPlan:
        """Find the cached prompt that shares most with this one. Image tokens without names are never cached."""
        text = self._text(prompt, image_tokens)
        cache = empty(self.family.language_model.config)
        named = len(text.pictures) == len(image_tokens.counts) > 0
        cacheable = bool(named and self.store.budget and all(_can_be_cut(layer) for layer in cache.layers))
        cached_tokens = 0
        if cacheable:
            for layer in _sliding(cache):
                # A full window can't be cut back, so it is opened while the prompt is read.
                layer.activate_past_recording()
            cached_tokens = self._restore(text, cache)
        starts = (cached_tokens, *(stop for stop in text.stops[:-1] if stop > cached_tokens))
        pieces = tuple(zip(starts, (*starts[1:], text.stops[-1]), strict=True))
        if not (self.family.sees_ahead or self.family.pictures_see_ahead):
            pieces = tuple(part for piece in pieces for part in parts_of(*piece))
        return PrefillPlan(text, cache, cached_tokens, pieces, cacheable)

    def insert(self, prefill: PrefillPlan) -> None:
        """Cache a prompt that has been prefilled, in place of cached prompts that share all but their last piece with
        it: its own beginning, and other questions at the same place, of which a copy each would fill the store."""
        if not prefill.cacheable:
            return
        prefix = CachedPrefix(prefill.text, tuple((layer.keys, layer.values) for layer in prefill.cache.layers))
        for layer in _sliding(prefill.cache):
            layer.crop(0)
            layer.record_past = False
        for other in self.store.of(CachedPrefix):
            shared = other.text.shared(prefill.text)
            if shared == len(prefill.text.ids):
                return
            if shared >= other.text.stops[-2:][0]:
                self.store.drop(other.key)
        self.store.put(prefix.key, prefix, size_of(tensor for pair in prefix.layers for tensor in pair))

    def _restore(self, text: PromptKey, cache: DynamicCache) -> int:
        """Fill the cache with the longest cached prefix; the last piece is read in any case."""
        beginning = PromptKey(text.ids, text.stops[:-1], text.pictures, text.starts)
        found = self.store.of(CachedPrefix)
        cached_tokens, best = max(((own.text.shared(beginning), i) for i, own in enumerate(found)), default=(0, 0))
        prefix = self.store.get(found[best].key) if cached_tokens else None
        if prefix is None:
            return 0
        for i, (layer, (keys, values)) in enumerate(zip(cache.layers, prefix.layers, strict=True)):
            layer.lazy_initialization(keys, values)
            span = slice(None) if i in self.family.picture_layers else slice(cached_tokens)
            # Nothing writes into these: a layer that was given its past moves before it grows.
            layer.keys, layer.values = keys[..., span, :], values[..., span, :]
            if layer.is_sliding:
                layer.cumulative_length = cached_tokens
        return cached_tokens

    def _text(self, prompt: Prompt, image_tokens: ImageTokens) -> PromptKey:
        if self.family.among_words:
            firsts = np.cumsum((0, *image_tokens.counts))[:-1]
            starts = tuple(prompt.image_positions[first] for first in firsts)
        else:
            # Words before a picture's mark look at it too, in one way or another.
            starts = (0,) * len(image_tokens.counts)
        stops = () if self.family.sees_ahead else tuple(stops_of(prompt))
        return PromptKey(np.array(prompt.ids), (*stops, len(prompt.ids)), image_tokens.names, starts)


def parts_of(start: int, stop: int) -> Iterable[tuple[int, int]]:
    """A piece as passes of about the same length, none longer than ``LONGEST``."""
    count = -(-(stop - start) // LONGEST)
    marks = [start + (stop - start) * i // count for i in range(count + 1)]
    return zip(marks, marks[1:], strict=False)


def stops_of(prompt: Prompt) -> Iterable[int]:
    """Where the pieces of a prompt end, but for the last: before the words that follow pictures, and before each answer
    of the history."""
    before, history_segments = "", 0
    for segment in prompt.segments:
        if segment.kind == "template":
            continue
        history_segments += segment.kind == "history"
        answer = segment.kind == "history" and history_segments % 2 == 0
        if segment.start > 0 and segment.kind != "image" and (answer or before == "image"):
            yield segment.start
        before = segment.kind


def _can_be_cut(layer: object) -> bool:
    """Whether a layer's past can be cut anywhere: that of linear attention, one state, can't."""
    return type(layer) in (PreallocatedLayer, DynamicSlidingWindowLayer)


def _sliding(cache: DynamicCache) -> list[DynamicSlidingWindowLayer]:
    return [layer for layer in cache.layers if isinstance(layer, DynamicSlidingWindowLayer)]
