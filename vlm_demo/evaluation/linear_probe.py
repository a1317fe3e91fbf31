"""Linear probe: which classes a frozen vision encoder's patch features separate, before any bridge or language model.

Mean of the image tokens → standardized → multinomial logistic regression, accuracy on every fourth picture, which was
not fitted. Compares resolutions and levels of the encoder on folders of labelled photographs, padded to a square.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from vlm_demo.errors import VlmDemoError
from vlm_demo.images.formats import formats
from vlm_demo.intervals import wilson
from vlm_demo.models.download import Progress
from vlm_demo.models.quantization import fast_bf16
from vlm_demo.training import json_lines

TOWER = "efficientnet-lite2"
FOLDERS = {"stanford40": "action", "caltech101": "object"}  # folder of photographs → the label to be classified
SIDES = (256, 288, 320, 384)  # pixels
GREY = (127, 127, 127)  # padding
HELD_OUT_EVERY = 4
WEIGHT_DECAYS = (1e-3, 1e-2, 1e-1)


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
    items = json_lines.read(folder / "annotations.jsonl")
    found = [
        LabelledPhoto(folder / item["image"], item["labels"][label])
        for item in items
        if label in item.get("labels", {})
    ]
    counts: dict[str, int] = {}
    for item in found:
        counts[item.label] = counts.get(item.label, 0) + 1
    return [item for item in found if counts[item.label] >= HELD_OUT_EVERY][:limit]


def features(items: Sequence[LabelledPhoto], encode: Callable[[list[Image.Image]], Tensor], batch: int = 16) -> Tensor:
    """Mean image token of each picture, [pictures, channels]; ``encode`` turns pictures into tokens [B, N, C]."""
    allowed, rows = formats(), []
    for start in range(0, len(items), batch):
        pictures = [Image.open(item.path, formats=allowed).convert("RGB") for item in items[start : start + batch]]
        rows.append(encode(pictures).float().mean(1))
    return torch.cat(rows)


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
    """The vision encoder on squares of one size; calls the tower and measures its time.

    Attributes:
        head: channels of the last level; the channels after them are the finer one's.
        seconds: the time that encoding took, without opening and padding the pictures.
    """

    def __init__(self, side: int, progress: Progress) -> None:
        from vlm_demo.models.pretrained import vision_tower

        self.side, self.seconds = side, 0.0
        self.dtype = torch.bfloat16 if fast_bf16(torch.device("cpu")) else torch.float32
        self.model = vision_tower(TOWER, side, progress).to(self.dtype).to(memory_format=torch.channels_last)
        self.head: int = self.model.config.head

    @torch.no_grad()
    def __call__(self, pictures: list[Image.Image]) -> Tensor:
        """Patch features [B, N, channels] of pictures of any size."""
        squares = [
            ImageOps.pad(picture, (self.side, self.side), Image.Resampling.BILINEAR, GREY) for picture in pictures
        ]
        pixels = torch.from_numpy(np.stack([np.asarray(square) for square in squares])).permute(0, 3, 1, 2)
        started = time.perf_counter()
        tokens = self.model(pixels.to(self.dtype) / 127.5 - 1).last_hidden_state
        self.seconds += time.perf_counter() - started
        return tokens


def table(photos: Path, sides: Sequence[int], limit: int | None, progress: Progress) -> str:
    """Markdown: a line for each folder, resolution, and levels of the encoder.

    Args:
        photos: holds the folders that FOLDERS names; those that are missing are left out.
        sides: pixels, multiples of 32.
        limit: the first so many pictures of a folder; None = all.
        progress: see ``loading.load``.
    Raises:
        VlmDemoError: none of the folders is there, or has pictures enough.
    """
    lines = [
        "| folder | classes | pixels | levels | right | 95 % interval | of | chance | pictures a second |",
        "|---" * 9 + "|",
    ]
    for name, label in FOLDERS.items():
        if not (photos / name / "annotations.jsonl").is_file():
            continue
        items = labelled(photos / name, label, limit)
        if not items:
            continue
        for side in sides:
            tower = ProbedTower(side, progress)
            rows = features(items, tower)
            for levels, chosen in (("last", rows[:, : tower.head]), ("both", rows)):
                result = probe(chosen, [item.label for item in items])
                low, high = wilson(round(result.accuracy * result.held_out), result.held_out)
                cells = (
                    *(name, result.labels, side, levels, f"{result.accuracy:.1%}", f"{low:.1%} – {high:.1%}"),
                    *(result.held_out, f"{result.chance:.1%}", f"{len(items) / tower.seconds:.1f}"),
                )
                lines.append(f"| {' | '.join(map(str, cells))} |")
    if len(lines) == 2:
        raise VlmDemoError(f"{photos} holds no labelled photographs; give a folder that holds {' or '.join(FOLDERS)}.")
    return "\n".join(lines)
