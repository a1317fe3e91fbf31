"""Feature cache: views → features → image tokens, each picture computed once for as long as it is cached.

Each is encoded and bridged alone, so the result does not depend on the other pictures. Its key is made of its pixels
and the visitor whose picture it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch

from vlm_demo.contracts import ImageTokens, PatchFeatures, Prompt
from vlm_demo.runtime.lru_store import LruStore, size_of
from vlm_demo.runtime.pixel_view import PixelView

if TYPE_CHECKING:
    from vlm_demo.runtime.cancellation import Cancelled


class Encodes(Protocol):
    """Pixels → patch features, as the encoder does."""

    def __call__(self, pictures: Sequence[PixelView], cancelled: Cancelled | None = None) -> PatchFeatures: ...


class Bridges(Protocol):
    """Patch features → image tokens, as the bridge does; ``reads_prompt`` says whether it reads the question too."""

    @property
    def reads_prompt(self) -> bool: ...

    def __call__(
        self, patches: PatchFeatures, cancelled: Cancelled | None = None, prompt: Prompt | None = None
    ) -> ImageTokens: ...


class FeatureCache:
    """The encoder with a cache."""

    def __init__(self, encoder: Encodes, store: LruStore) -> None:
        self.encoder, self.store = encoder, store

    def patches(
        self, views: Sequence[PixelView], cancelled: Cancelled | None = None
    ) -> tuple[list[PatchFeatures], int]:
        """The patch features of each picture, and how many of the pictures were cached.

        Raises:
            Stopped: ``cancelled()`` turned True.
        """
        found, hits = [], 0
        for view in views:
            name = _picture_key(view)
            key = ("features", name)
            features = self.store.get(key)
            hits += features is not None
            if features is None:
                features = self.encoder([view], cancelled).features
                self.store.put(key, features, size_of([features]))
            found.append(PatchFeatures(features, (view,), (name,)))
        return found, hits


class ImageTokenCache(FeatureCache):
    """Encoder and bridge with a cache, of a model that writes."""

    def __init__(self, encoder: Encodes, bridge: Bridges, store: LruStore) -> None:
        super().__init__(encoder, store)
        self.bridge = bridge

    def tokens(
        self, patches: Sequence[PatchFeatures], prompt: Prompt, cancelled: Cancelled | None = None
    ) -> tuple[ImageTokens, int]:
        """The image tokens of all pictures that `patches` gave, named by what they were made of, and how many of them
        were cached.

        Raises:
            Stopped: ``cancelled()`` turned True.
        """
        # Some bridges make of the same picture something else for every question.
        prompt_key = _digest(repr(_texts_of(prompt)).encode()) if self.bridge.reads_prompt else ""
        found, names, hits = [], [], 0
        for features in patches:
            names.append(features.names[0] + prompt_key)
            key = ("tokens", names[-1])
            image_tokens = self.store.get(key)
            hits += image_tokens is not None
            if image_tokens is None:
                image_tokens = self.bridge(features, cancelled, prompt)
                self.store.put(
                    key, image_tokens, size_of([image_tokens.embeddings, image_tokens.deep, image_tokens.patch_weights])
                )
            found.append(image_tokens)
        named = [replace(image_tokens, names=(name,)) for image_tokens, name in zip(found, names, strict=True)]
        return joined(named), hits


def joined(parts: Sequence[ImageTokens]) -> ImageTokens:
    """The image tokens of some pictures one after the other; they have a name together only if each has one."""
    deep = [part.deep for part in parts if part.deep is not None]
    patch_weights = [part.patch_weights for part in parts if part.patch_weights is not None]
    return ImageTokens(
        embeddings=torch.cat([part.embeddings for part in parts]),
        counts=tuple(count for part in parts for count in part.counts),
        patch_weights=torch.cat(patch_weights) if patch_weights else None,
        deep=torch.cat(deep, 1) if deep else None,
        grids=tuple(grid for part in parts for grid in part.grids),
        names=tuple(name for part in parts for name in part.names) if all(part.names for part in parts) else (),
    )


def split(tokens: ImageTokens) -> Iterator[ImageTokens]:
    """The image tokens of each picture alone, without ``patch_weights``."""
    start = 0
    for i, count in enumerate(tokens.counts):
        stop = start + count
        deep = None if tokens.deep is None else tokens.deep[:, start:stop]
        yield ImageTokens(tokens.embeddings[start:stop], (count,), None, deep, tokens.grids[i : i + 1])
        start = stop


def _picture_key(view: PixelView) -> str:
    """The SHA-256 of what the encoder and the bridge are given of a picture, after the visitor's prefix."""
    layout = repr((tuple(view.pixel_values.shape), view.size, view.tiling, view.grid)).encode()
    pixels = view.pixel_values.contiguous().view(torch.uint8).numpy()
    return visitor_prefix(view.visitor) + _digest(layout, pixels)


def visitor_prefix(visitor: str) -> str:
    """What the names of a visitor's pictures begin with."""
    return f"{visitor}:" if visitor else ""


def belongs(key: Hashable, visitor: str) -> bool:
    """Whether what is cached under a key of this store was computed of a picture of this visitor. The last part of
    a key is the name of a picture, or of several."""
    names = key[-1] if isinstance(key, tuple) else key
    return any(str(name).startswith(f"{visitor}:") for name in (names if isinstance(names, tuple) else (names,)))


def _digest(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)  # type: ignore[arg-type]
    return digest.hexdigest()


def _texts_of(prompt: Prompt) -> list[str]:
    return [segment.text for segment in prompt.segments if segment.kind != "image"]
