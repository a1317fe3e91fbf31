"""Aligned pictures: patch features of annotated pictures, computed once, and the words that their image tokens should
lie near.

Stage 0 learns from them alone. Later stages rehearse some of them at every step: the language model's loss sees each
picture once, and without a rehearsal the projector forgets most names that it had learned (of held-out Stanford 40
photographs the right action came out first for 70 % after stage 0, for 28 % after 7,728 pictures of that loss alone).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlm_demo.models.quantization import fast_bf16
from vlm_demo.training import json_lines
from vlm_demo.training.alignment import WORD, Vocabulary, words_of
from vlm_demo.training.cached_features import ENCODER_BATCH, cached_rows
from vlm_demo.training.mixture import SHARPENED, Mixture, Sample, load_pixels
from vlm_demo.training.photo_words import READABLE

# Folders whose pictures are all taken: a label is a picture's only word, and few pictures have it.
LABELLED = ("stanford40", "caltech101", "imagenet", "grocery", "clothing", "pacs")
# Their words are text in the picture, or describe a whole room.
LEFT_OUT = frozenset({"chartqa", "charts", "screens", "documents", "text", "daquar"})
REHEARSED = 64  # pictures a step
REHEARSAL_WEIGHT = 0.5  # of their loss, next to the language model's
BOX_WEIGHT = 1.0  # of boxed things, next to a picture's words
TEMPERATURE = 25.0  # of the cosines; learned in stage 0, where it comes out between 22 and 28
MIN_PROBABILITY = 0.3  # of a class in the tower's own classifier; its name is then one of the picture's words


@dataclass(frozen=True)
class Classifier:
    """The vision tower's own ImageNet classifier, which names what is in a picture.

    Attributes:
        weight, bias: [classes, channels], [classes].
        names: of the classes, in order.
    """

    weight: Tensor
    bias: Tensor
    names: Sequence[str]

    def __call__(self, features: Tensor) -> list[set[str]]:
        """The words of the classes above MIN_PROBABILITY, for each picture.

        Args:
            features: [pictures, tokens, channels or more]; the first channels are the last level.
        """
        pooled = features[..., : self.weight.shape[1]].float().mean(1)
        probabilities = (pooled @ self.weight.T + self.bias).softmax(1)
        return [
            {
                word
                for i in (row > MIN_PROBABILITY).nonzero()[:, 0].tolist()
                for word in WORD.findall(self.names[i].lower())
            }
            for row in probabilities
        ]


def imagenet_classifier(layer: tuple[Tensor, Tensor] | None, data: Mixture) -> Classifier | None:
    """The classifier (weight, bias) of a tower, named by the folder ``imagenet``, which holds one picture a class in
    the classes' order; None where the tower or the folder is missing."""
    if layer is None or "imagenet" not in data.folders:
        return None
    annotations = json_lines.read(data.folders["imagenet"].path / "annotations.jsonl")
    names = [item["labels"]["object"] for item in annotations]
    return Classifier(layer[0].float(), layer[1].float(), names) if len(names) == len(layer[1]) else None


@dataclass(frozen=True)
class AlignedPictures:
    """Pictures whose image tokens should lie near words.

    Attributes:
        features: bf16 [pictures, tokens, channels].
        targets: [pictures, words], rows sum to 1, or to 0 where no word is known.
        vocabulary: the words.
    """

    features: Tensor
    targets: Tensor
    vocabulary: Vocabulary

    def loss(self, projector: nn.Module, seeds: Sequence[int], processes: int = 1) -> Tensor:
        """The alignment loss of some of the pictures, which depend on ``seeds`` alone: REHEARSED of them over all
        processes that train together."""
        order = np.random.default_rng(seeds).permutation(len(self.features))
        rows = torch.from_numpy(order[: REHEARSED // processes])
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bf16(torch.device("cpu"))):
            tokens = projector(self.features[rows].float())
            scores = self.vocabulary.scores(tokens - self.vocabulary.mean, TEMPERATURE)
        return -(self.targets[rows] * scores.log_softmax(1)).sum(1).mean()


class BatchWords:
    """The same loss on the pictures that a step is about anyway: where the vision tower is trained too, features that
    were computed before go out of date.

    Args:
        data: the words of all its pictures make the vocabulary.
        build_vocabulary: see ``gather``.
    """

    def __init__(self, data: Mixture, build_vocabulary: Callable[[Sequence[set[str]]], Vocabulary]) -> None:
        self.vocabulary = build_vocabulary(
            [words_of(item) for name in data.names if name not in LEFT_OUT for item in data.folders[name].items]
        )

    def loss(self, samples: Sequence[Sample], tokens: Tensor) -> Tensor:
        """The alignment loss of the samples' image tokens [B, N, d]; pictures without words count as 0."""
        targets = torch.stack(
            [
                self.vocabulary.targets(set() if sample.folder in LEFT_OUT else words_of(sample.item))
                for sample in samples
            ]
        )
        scores = self.vocabulary.scores(tokens.float() - self.vocabulary.mean, TEMPERATURE)
        return -(targets * scores.log_softmax(1)).sum(1).mean()


def box_loss(vocabulary: Vocabulary, samples: Sequence[Sample], tokens: Tensor) -> Tensor:
    """The alignment loss of each image token in a box, against the words of the box's name: a scalar, 0 where nothing
    is boxed.

    Args:
        tokens: the samples' image tokens [B, N, d].
    """
    side = math.isqrt(tokens.shape[1])
    boxed = [
        (row, place, name, 1 / math.sqrt(len(places)))
        for row, sample in enumerate(samples)
        for name, places in tokens_of_boxes(sample.boxes, side)
        for place in places
    ]
    if not boxed:
        return tokens.sum() * 0
    rows, places, names, weights = zip(*boxed, strict=True)
    cosines = vocabulary.cosines(tokens[list(rows), list(places)].float() - vocabulary.mean)
    targets = torch.stack([vocabulary.targets(set(WORD.findall(READABLE.get(name, name)))) for name in names])
    losses = -(targets * (TEMPERATURE * cosines).log_softmax(1)).sum(1)
    weight = torch.tensor(weights)
    return (losses * weight).sum() / weight.sum()


def tokens_of_boxes(boxes: Sequence[tuple[str, float, float, float, float]], side: int) -> list[tuple[str, list[int]]]:
    """Which of side × side tokens, in reading order, each box (name, left, top, right, bottom; 0..1) has: those whose
    centres lie in it and in no smaller box, and where that is none, the one that its own centre lies in."""
    centres = (np.arange(side) + 0.5) / side
    owner = np.full((side, side), -1)
    order = sorted(range(len(boxes)), key=lambda i: -(boxes[i][3] - boxes[i][1]) * (boxes[i][4] - boxes[i][2]))
    for i in order:
        _, left, top, right, bottom = boxes[i]
        inside = np.outer((centres > top) & (centres < bottom), (centres > left) & (centres < right))
        if not inside.any():
            row, column = (min(side - 1, max(0, int((a + b) / 2 * side))) for a, b in ((top, bottom), (left, right)))
            inside[row, column] = True
        owner[inside] = i
    found = ((box[0], np.flatnonzero(owner == i).tolist()) for i, box in enumerate(boxes))
    return [(name, places) for name, places in found if places]


def select_pictures(data: Mixture, pictures: int, seed: int) -> list[tuple[Path, Mapping[str, Any]]]:
    """(file, annotation) of about so many pictures: all of LABELLED, the others in their shares."""
    rng = np.random.default_rng(seed)
    selected = []
    for name in data.names:
        if name in LABELLED:
            selected += [(data.folders[name].path / item["image"], item) for item in data.folders[name].items]
    remaining = pictures - len(selected)
    others = {
        name: share
        for name, share in zip(data.names, data.share, strict=True)
        if name not in LABELLED and name not in LEFT_OUT
    }
    for name, share in others.items():
        folder = data.folders[name]
        order = rng.permutation(len(folder.items))[: max(0, round(remaining * share / sum(others.values())))]
        selected += [(folder.path / folder.items[i]["image"], folder.items[i]) for i in order]
    return [selected[i] for i in rng.permutation(len(selected))]


def gather(
    data: Mixture,
    pictures: int,
    seed: int,
    file: Path,
    encode: Callable[[Sequence[np.ndarray]], Tensor],
    build_vocabulary: Callable[[Sequence[set[str]]], Vocabulary],
    classifier: Classifier | None = None,
) -> AlignedPictures:
    """Compute the features, or take them from the file, and give each picture its words.

    Args:
        file: keeps the features, see ``cached_features.cached_rows``.
        encode: uint8 pictures [side, side, 3] → features [B, tokens, channels].
        build_vocabulary: the words of each picture → a vocabulary.
        classifier: adds words to those of the annotations.
    """
    selected = select_pictures(data, pictures, seed)

    @torch.no_grad()
    def compute_rows(start: int, end: int) -> Tensor:
        rng = np.random.default_rng([seed, start])
        return encode(
            [
                load_pixels(path, data.side, False, 1.0, rng, data.fill, bool(rng.random() < SHARPENED))
                for path, _ in selected[start:end]
            ]
        )

    shape = (len(selected), *compute_rows(0, 1).shape[1:])
    sources = [f"{data.side} {seed}", *(str(path) for path, _ in selected)]
    features = cached_rows(file, sources, shape, torch.bfloat16, compute_rows, ENCODER_BATCH)
    word_sets = [words_of(item) for _, item in selected]
    if classifier is not None:
        predicted = [words for part in features.split(512) for words in classifier(part)]
        word_sets = [
            from_texts | from_classifier for from_texts, from_classifier in zip(word_sets, predicted, strict=True)
        ]
    vocabulary = build_vocabulary(word_sets)
    return AlignedPictures(features, torch.stack([vocabulary.targets(words) for words in word_sets]), vocabulary)
