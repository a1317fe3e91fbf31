"""Contracts: the frozen dataclasses that travel the road, one for each station's output.

Data only: no logic, no model, no file access. Coordinates are pixels of the *uploaded* picture after EXIF
rotation (x to the right, y down, origin in the top-left corner) unless a field says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image


@dataclass(frozen=True)
class PatchGrid:
    """A regular grid of patches laid over an upload; those of a picture that is cut into tiles lie in one mosaic.

    Attributes:
        grid: (rows, columns).
        boxes: float32 [rows * columns, 4], the x0, y0, x1, y1 that each patch covers in the upload, row by row.
        tokens: int64 [rows * columns], which of the picture's image tokens stands for each patch, counted from behind
            those that lead and stand for no place.
    """

    grid: tuple[int, int]
    boxes: np.ndarray
    tokens: np.ndarray


@dataclass(frozen=True)
class View:
    """What the model really sees of one upload.

    Attributes:
        image: the upload, opened safely, turned upright, RGB.
        size: (width, height) of ``image``.
        pixel_values: float tensor [tiles, 3, h, w], exactly what the checkpoint's image processor made.
        processed: uint8 [H, W, 3], the pixels under ``grid`` with the normalisation undone, for looking at.
        grid: (rows, columns) of patches, the finest that the model gets of this picture.
        boxes: float32 [rows * columns, 4], the x0, y0, x1, y1 that each patch covers in ``image``.
        notes: sentences for the person: first frame only, turned upright, shrunk, ...
        mosaics: the finest one, which ``grid`` and ``boxes`` repeat, and then the coarser ones that the model gets
            beside it (a thumbnail); empty = one token for each patch of ``grid``, in order.
        tiling: (rows, columns) of the tiles that ``grid`` lies over.
    """

    image: Image.Image
    size: tuple[int, int]
    pixel_values: torch.Tensor
    processed: np.ndarray
    grid: tuple[int, int]
    boxes: np.ndarray
    notes: tuple[str, ...] = ()
    patch_grids: tuple[PatchGrid, ...] = ()
    tiling: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class OcrWord:
    """One word that Tesseract read. ``box`` is x0, y0, x1, y1; ``confidence`` is 0..100."""

    text: str
    box: tuple[int, int, int, int]
    confidence: float


@dataclass(frozen=True)
class OcrResult:
    """The text of one upload in reading order (lines split by newlines) and its words."""

    text: str
    words: tuple[OcrWord, ...]
    seconds: float


@dataclass(frozen=True)
class Segment:
    """A run of prompt tokens [start, stop) of one origin.

    ``kind`` is one of ``template``, ``image``, ``ocr``, ``question``, ``rule``, ``history``, ``system``.
    """

    kind: str
    text: str
    start: int
    stop: int


@dataclass(frozen=True)
class Prompt:
    """Exactly what the language model is given.

    Attributes:
        text: the filled chat template, one placeholder for each picture.
        ids: token ids with every placeholder expanded.
        image_tokens: how many of ``ids`` are image tokens; where pictures are read through cross-attention these are
            marks, one a picture.
        image_positions: the index in ``ids`` of each image token, in the order of the pictures.
        segments: ``ids`` cut into runs by origin; together they cover it exactly.
        pieces: each of ``ids`` as the vocabulary writes it; empty where that is not known.
    """

    text: str
    ids: tuple[int, ...]
    image_tokens: int
    image_positions: tuple[int, ...]
    segments: tuple[Segment, ...]
    pieces: tuple[str, ...] = ()


@dataclass(frozen=True)
class PatchFeatures:
    """The encoder's notes.

    Attributes:
        features: [tiles of all pictures, patches, d_vision], after a CLS token if it is read too; those of pictures of
            different sizes lie in one row [1, patches of all pictures, d_vision].
        views: the pictures; empty where only pixels were given.
    """

    features: torch.Tensor
    views: tuple[View, ...] = ()


@dataclass(frozen=True)
class BridgeInfo:
    """How pictures get into the language model.

    Attributes:
        kind: ``projector`` (each patch becomes an image token), ``Q-Former`` (a few queries gather the patches),
            ``cross-attention`` (layers of the language model look at the patches), ``whole`` (that can't be seen), or
            ``none`` (nothing is written).
        text: the same in a few words, with this model's numbers.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class ImageTokens:
    """What the language model reads.

    Attributes:
        embeddings: [tokens of all pictures, d_llm]; with cross-attention its keys [.., d_vision].
        counts: tokens of each picture.
        looks: float32 [pictures, tokens, patches], how much each token has gathered from each patch, the mean over the
            bridge's layers and heads; None where each token is one patch.
        deep: [layers, tokens of all pictures, d_llm], what the first layers of the language model add to the tokens
            (DeepStack); None where they add nothing.
        grids: (rows, columns) of each picture's tokens, where the language model is told of them.
        names: what each picture's tokens were made of, in a word; empty where nothing is to be remembered of them.
    """

    embeddings: torch.Tensor
    counts: tuple[int, ...]
    looks: torch.Tensor | None = None
    deep: torch.Tensor | None = None
    grids: tuple[tuple[int, int], ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Token:
    """One generated token: its text as it extends the answer, id, and softmax probability 0..1."""

    text: str
    id: int
    probability: float


@dataclass(frozen=True)
class Word:
    """A word of the answer: ``text`` and the half-open range [start, stop) of its tokens."""

    text: str
    start: int
    stop: int


@dataclass(frozen=True)
class Turn:
    """One earlier exchange of the chat, oldest first in a history."""

    question: str
    answer: str
    images: tuple[object, ...] = ()


@dataclass(frozen=True)
class Timings:
    """Wall-clock seconds of each station, without those of whoever looks at its events. ``first_token`` counts from the
    start; ``decode`` is all later tokens."""

    view: float = 0.0
    ocr: float = 0.0
    prompt: float = 0.0
    encoder: float = 0.0
    bridge: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    first_token: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class Memory:
    """Bytes, each measured: the model's parameters and buffers, and the process's resident memory."""

    parameter_bytes: int
    process_bytes: int


@dataclass(frozen=True)
class StageEvent:
    """A station has finished. ``detail`` is its shapes in words, e.g. ``168×168 → 196×192``."""

    name: str
    seconds: float
    detail: str


@dataclass(frozen=True)
class TokenEvent:
    """A token has been generated; ``text`` is the answer so far."""

    token: Token
    text: str


@dataclass(frozen=True)
class Scores:
    """How well each of some texts fits one picture.

    Attributes:
        texts: as they were given; all other fields follow their order.
        probabilities: 0..1, the softmax over the texts of similarity / temperature; they sum to 1.
        similarities: -1..1, the cosine of picture and text; where the picture has several vectors, of the nearest one.
        temperature: the checkpoint's; the lower, the sharper the probabilities.
        matches: 0..1, the probability that the text, by itself, fits the picture, from a head that reads both
            together; None where the model has no such head.
        view: the picture as the model saw it.
        stages: the stations with their times and shapes.
        model: the model's name.
    """

    texts: tuple[str, ...]
    probabilities: tuple[float, ...]
    similarities: tuple[float, ...]
    temperature: float
    matches: tuple[float, ...] | None
    view: View = field(repr=False)
    stages: tuple[StageEvent, ...]
    model: str
