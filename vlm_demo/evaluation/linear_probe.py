"""Linear probe: which classes a frozen vision encoder's features separate, before any bridge or language model.

Features of a picture → standardized → multinomial logistic regression, accuracy on every fourth picture, which was not
fitted. Compares encoders, their resolutions and their features on folders of labelled photographs, padded to a square:
the same pictures are fitted, and the same are held out, for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from vlm_demo.errors import ModelNotFound, VlmDemoError
from vlm_demo.images.formats import formats
from vlm_demo.intervals import wilson
from vlm_demo.models.download import Progress
from vlm_demo.models.quantization import fast_bf16
from vlm_demo.training import json_lines

FOLDERS = {"stanford40": "action", "caltech101": "object"}  # folder of photographs → the label to be classified
ANNOTATIONS = "annotations.jsonl"
HELD_OUT_EVERY = 4
WEIGHT_DECAYS = (1e-3, 1e-2, 1e-1)
COLUMNS = (
    *("folder", "classes", "encoder", "pixels", "image tokens", "features", "right", "95 % interval", "of", "chance"),
    "pictures a second",
)

Features = dict[str, Tensor]  # a name for a person → [pictures, channels]


def by_level(output: Any, config: Any) -> Features:
    """Means over the image tokens: of the last level's channels, and of all channels, the finer level's among them."""
    mean = output.last_hidden_state.float().mean(1)
    return {"last level": mean[:, : config.head], "both levels": mean}


def with_cls(output: Any, config: Any) -> Features:
    """The mean of the patches as a language model reads them, the CLS token, and one beside the other."""
    mean, cls = output.last_hidden_state.float().mean(1), output.pooler_output.float()
    return {"mean of patches": mean, "CLS": cls, "mean and CLS": torch.cat([mean, cls], 1)}


@dataclass(frozen=True)
class ProbedEncoder:
    """How a vision encoder is probed.

    Attributes:
        title: its name for a person.
        stride: pixels of a patch's side; a picture's side is a multiple of it.
        sides: pixels, the resolutions that are measured by default.
        features: its output and its configuration → the features of each picture.
    """

    title: str
    stride: int
    sides: tuple[int, ...]
    features: Callable[[Any, Any], Features]


# The pretrained part → how it is probed.
ENCODERS = {
    "efficientnet-lite2": ProbedEncoder("EfficientNet-Lite2", 32, (256, 288, 320, 384), by_level),
    "dinov2-vit-s-focus": ProbedEncoder("DINOv2 ViT-S", 14, (168, 224), with_cls),
}


@dataclass(frozen=True)
class LabelledPhoto:
    """One labelled photograph."""

    path: Path
    label: str


@dataclass(frozen=True)
class ProbeResult:
    """``accuracy`` 0..1 on ``held_out`` pictures of ``labels`` classes, ``chance`` that of the most frequent one."""

    accuracy: float
    held_out: int
    labels: int
    chance: float


def labelled(folder: Path, label: str, limit: int | None = None) -> list[LabelledPhoto]:
    """The pictures of ``folder/annotations.jsonl`` that have this label, and whose class has at least four."""
    items = json_lines.read(folder / ANNOTATIONS)
    found = [
        LabelledPhoto(folder / item["image"], item["labels"][label])
        for item in items
        if label in item.get("labels", {})
    ]
    counts: dict[str, int] = {}
    for item in found:
        counts[item.label] = counts.get(item.label, 0) + 1
    return [item for item in found if counts[item.label] >= HELD_OUT_EVERY][:limit]


def features(
    items: Sequence[LabelledPhoto], encode: Callable[[list[Image.Image]], Features], batch: int = 16
) -> Features:
    """The features of all pictures in their order; ``encode`` gives those of a few."""
    allowed, rows = formats(), []
    for start in range(0, len(items), batch):
        pictures = [Image.open(item.path, formats=allowed).convert("RGB") for item in items[start : start + batch]]
        rows.append(encode(pictures))
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def probe(rows: Tensor, labels: Sequence[str]) -> ProbeResult:
    """Fit on three quarters of the rows and score the fourth; the weight decay is chosen on some of the fitted ones."""
    names = sorted(set(labels))
    target = torch.tensor([names.index(label) for label in labels])
    # Within each class every fourth picture is held out, whatever their order.
    order = np.zeros(len(labels), int)
    last_index: dict[str, int] = {}
    for i, label in enumerate(labels):
        order[i] = last_index[label] = last_index.get(label, -1) + 1
    held_out = torch.from_numpy(order % HELD_OUT_EVERY == HELD_OUT_EVERY - 1)
    validation = torch.from_numpy(order % HELD_OUT_EVERY == 0)
    rows = (rows - rows[~held_out].mean(0)) / (rows[~held_out].std(0) + 1e-6)
    scores = [(_accuracy(rows, target, ~held_out & ~validation, validation, decay), decay) for decay in WEIGHT_DECAYS]
    accuracy = _accuracy(rows, target, ~held_out, held_out, max(scores)[1])
    chance = float(torch.bincount(target[held_out]).max() / held_out.sum())
    return ProbeResult(accuracy, int(held_out.sum()), len(names), chance)


def _accuracy(rows: Tensor, target: Tensor, fit: Tensor, test: Tensor, decay: float) -> float:
    weight = torch.zeros(rows.shape[1], int(target.max()) + 1, requires_grad=True)
    bias = torch.zeros(weight.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(rows[fit] @ weight + bias, target[fit])
        value = value + decay * weight.square().sum() / 2
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        return float(((rows[test] @ weight + bias).argmax(1) == target[test]).float().mean())


class ProbedTower:
    """A vision encoder on squares of one size; calls the tower and measures its time.

    Attributes:
        tokens: image tokens of a picture, known after the first one.
        seconds: the time that encoding took, without opening and padding the pictures.
    """

    def __init__(self, name: str, side: int, progress: Progress) -> None:
        from vlm_demo.models.pretrained import vision_tower

        self.encoder, self.side, self.tokens, self.seconds = ENCODERS[name], side, 0, 0.0
        self.dtype = torch.bfloat16 if fast_bf16(torch.device("cpu")) else torch.float32
        self.model = vision_tower(name, side, progress).to(self.dtype).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, pictures: list[Image.Image]) -> Features:
        """The features of pictures of any size."""
        squares = [
            ImageOps.pad(picture, (self.side, self.side), Image.Resampling.BILINEAR, self.model.fill)
            for picture in pictures
        ]
        pixels = torch.from_numpy(np.stack([np.asarray(square) for square in squares])).permute(0, 3, 1, 2)
        started = time.perf_counter()
        output = self.model(pixels.to(self.dtype) / 127.5 - 1)
        self.seconds += time.perf_counter() - started
        self.tokens = output.last_hidden_state.shape[1]
        return self.encoder.features(output, self.model.config)


def table(photos: Path, towers: Mapping[str, Sequence[int]], limit: int | None, progress: Progress) -> str:
    """Markdown: a line for each folder, encoder, resolution, and kind of features.

    Args:
        photos: holds the folders that FOLDERS names; those that are missing are left out.
        towers: keys of ENCODERS → pixels, multiples of their strides. An encoder that can't be fetched is left out,
            and the reason stands below.
        limit: the first so many pictures of a folder; None = all.
        progress: see ``loading.load``.
    Raises:
        ModelNotFound: no encoder is here, or could be fetched.
        VlmDemoError: none of the folders is there, or has pictures enough.
    """
    folders = {
        name: items
        for name, label in FOLDERS.items()
        if (photos / name / ANNOTATIONS).is_file() and (items := labelled(photos / name, label, limit))
    }
    if not folders:
        raise VlmDemoError(f"{photos} holds no labelled photographs; give a folder that holds {' or '.join(FOLDERS)}.")
    lines: list[str] = []
    missing: dict[str, ModelNotFound] = {}
    for folder, items in folders.items():
        for name, sides in towers.items():
            try:
                for side in sides if name not in missing else ():
                    lines += _lines(folder, items, ProbedTower(name, side, progress))
            except ModelNotFound as error:
                missing[name] = error
    if not lines:
        raise next(iter(missing.values()))
    return "\n".join([f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *lines, *map(str, missing.values())])


def _lines(folder: str, items: Sequence[LabelledPhoto], tower: ProbedTower) -> list[str]:
    """The lines of an encoder at one resolution."""
    lines = []
    for name, rows in features(items, tower).items():
        result = probe(rows, [item.label for item in items])
        low, high = wilson(round(result.accuracy * result.held_out), result.held_out)
        cells = (
            *(folder, result.labels, tower.encoder.title, tower.side, tower.tokens, name, f"{result.accuracy:.1%}"),
            *(f"{low:.1%} – {high:.1%}", result.held_out, f"{result.chance:.1%}"),
            f"{len(items) / tower.seconds:.1f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines
