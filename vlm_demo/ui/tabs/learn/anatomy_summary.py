"""Anatomy summary: an answer's anatomy → what the tab draws of it. The large arrays end here; what is stored is
small."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vlm_demo.ui.tabs.learn import principal

if TYPE_CHECKING:
    from vlm_demo.contracts import Anatomy, Answer, Features, Word

AxesOf = dict[tuple[str, str, int], principal.Axes]


@dataclass(frozen=True, eq=False)
class Patches:
    """A summary of one picture's vectors, before the bridge or after it.

    Attributes:
        colours: uint8 [n, 3], of their three principal components.
        grid: (rows, columns) on the picture; None where they have no positions on it.
        width: d, the vectors' dimension.
        explained_variance: 0..1, the share of their variance that the colours show.
        norms: float32 [n].
    """

    colours: np.ndarray
    grid: tuple[int, int] | None
    width: int
    explained_variance: float
    norms: np.ndarray


@dataclass(frozen=True, eq=False)
class AnatomySummary:
    """What is drawn of one answer.

    Attributes:
        anatomy: without the vectors of the pictures.
        before, after: the bridge, of each picture.
        text_norm: mean norm of the prompt's word embeddings.
        heat: the map of one word, float32 [H, W], over each picture; empty where there is none.
        heat_seconds: for drawing one map.
        heat_word: the index of that word.
    """

    anatomy: Anatomy
    before: tuple[Patches, ...]
    after: tuple[Patches, ...]
    text_norm: float
    heat: tuple[np.ndarray, ...] = ()
    heat_seconds: float = 0.0
    heat_word: int = 0


def summarized(
    anatomy: Anatomy,
    model: str,
    known: AxesOf,
    heat: tuple[np.ndarray, ...] = (),
    heat_seconds: float = 0.0,
    heat_word: int = 0,
) -> AnatomySummary:
    """Summarize an anatomy.

    Args:
        model: whose it is.
        known: the principal axes by model, stage and width; those of the first picture are added.
        heat, heat_seconds, heat_word: see `AnatomySummary`.
    """
    before, after = (
        tuple(_small(features, known, (model, stage, features.values.shape[1])) for features in part)
        for stage, part in (("before", anatomy.before), ("after", anatomy.after))
    )
    norm = float(anatomy.text_norms.mean()) if len(anatomy.text_norms) else 0.0
    return AnatomySummary(replace(anatomy, before=(), after=()), before, after, norm, heat, heat_seconds, heat_word)


def _small(features: Features, known: AxesOf, key: tuple[str, str, int]) -> Patches:
    if key not in known:
        known[key] = principal.axes_of(features.values)
    axes, values = known[key], features.values
    return Patches(
        principal.colours(values, axes),
        features.grid,
        values.shape[1],
        principal.explained_variance(values, axes),
        features.norms,
    )


def token_of(answer: Answer, word: Word) -> int:
    """The token that represents a word: its first with a letter or a digit."""
    return answer.steps(word)[0]


def stays_from(summary: AnatomySummary, token: int) -> int | None:
    """The first layer from which on every layer predicts what the last one does, counted from 0."""
    ids = summary.anatomy.lens.ids[:, token]
    other = np.flatnonzero(ids != ids[-1])
    return int(other[-1]) + 1 if len(other) else 0


def looks_most(summary: AnatomySummary, token: int) -> tuple[int, int, int] | None:
    """The first and the last layer, around the one with the most attention on the picture, that have at least half as
    much, and that one, counted from 0; None where not recorded."""
    shares = summary.anatomy.image_shares
    if shares is None:
        return None
    token_shares = shares[:, token]
    top = first = last = int(token_shares.argmax())
    while first > 0 and token_shares[first - 1] >= token_shares[top] / 2:
        first -= 1
    while last + 1 < len(token_shares) and token_shares[last + 1] >= token_shares[top] / 2:
        last += 1
    return first, last, top
