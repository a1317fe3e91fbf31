"""Lesson: an answer's anatomy → what the tab draws of it. The large arrays end here; what is kept is small."""

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
    """One picture's vectors in small, before the bridge or after it.

    Attributes:
        colours: uint8 [n, 3], of their three main directions.
        grid: (rows, columns) on the picture; None where they stand for no places.
        width: d, how many numbers each vector has.
        kept: 0..1, how much of their variance the colours show.
        norms: float32 [n].
    """

    colours: np.ndarray
    grid: tuple[int, int] | None
    width: int
    kept: float
    norms: np.ndarray


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is drawn of one answer.

    Attributes:
        anatomy: without the vectors of the pictures.
        before, after: of each picture.
        text_norm: mean length of the prompt's word embeddings.
        heat: the map of the word that was looked at, float32 [H, W], over each picture; empty where there is none.
        heat_seconds: that the drawing of one took.
    """

    anatomy: Anatomy
    before: tuple[Patches, ...]
    after: tuple[Patches, ...]
    text_norm: float
    heat: tuple[np.ndarray, ...] = ()
    heat_seconds: float = 0.0


def lesson_of(
    anatomy: Anatomy, model: str, known: AxesOf, heat: tuple[np.ndarray, ...] = (), heat_seconds: float = 0.0
) -> Lesson:
    """What is kept of an anatomy.

    Args:
        model: whose it is.
        known: the axes of colours by model, stage and width; those of the first picture are added.
        heat, heat_seconds: see `Lesson`.
    """
    before, after = (
        tuple(_small(own, known, (model, stage, own.values.shape[1])) for own in part)
        for stage, part in (("before", anatomy.before), ("after", anatomy.after))
    )
    norm = float(anatomy.text_norms.mean()) if len(anatomy.text_norms) else 0.0
    return Lesson(replace(anatomy, before=(), after=()), before, after, norm, heat, heat_seconds)


def _small(features: Features, known: AxesOf, key: tuple[str, str, int]) -> Patches:
    if key not in known:
        known[key] = principal.axes_of(features.values)
    axes, values = known[key], features.values
    return Patches(
        principal.colours(values, axes), features.grid, values.shape[1], principal.kept(values, axes), features.norms
    )


def token_of(answer: Answer, word: Word) -> int:
    """The token whose step stands for a word: the first of it with a letter or a digit."""
    return answer.steps(word)[0]


def stays_from(lesson: Lesson, token: int) -> int | None:
    """The first layer from which on every layer would write what the last one does, counted from 0."""
    ids = lesson.anatomy.lens.ids[:, token]
    other = np.flatnonzero(ids != ids[-1])
    return int(other[-1]) + 1 if len(other) else 0


def looks_most(lesson: Lesson, token: int) -> tuple[int, int, int] | None:
    """The first and the last layer around the one whose attention rests most on the picture with at least half as much,
    and that one, counted from 0; None where that can't be told."""
    shares = lesson.anatomy.image_shares
    if shares is None:
        return None
    own = shares[:, token]
    top = first = last = int(own.argmax())
    while first > 0 and own[first - 1] >= own[top] / 2:
        first -= 1
    while last + 1 < len(own) and own[last + 1] >= own[top] / 2:
        last += 1
    return first, last, top
