"""Linear probe: what a frozen vision encoder's patch features tell apart, before any bridge or language model.

Mean of the image tokens → standardized → multinomial logistic regression, accuracy on every fourth picture, which was
not fitted. Compares encoders and resolutions on one folder of labelled photographs, see ``../training/photos.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

HELD_OUT_EVERY = 4
WEIGHT_DECAYS = (1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class Labelled:
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


def labelled(folder: Path, label: str, most: int | None = None) -> list[Labelled]:
    """The pictures of ``folder/annotations.jsonl`` that have this label, and whose class has at least four."""
    lines = (folder / "annotations.jsonl").read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines]
    found = [
        Labelled(folder / item["image"], item["labels"][label]) for item in items if label in item.get("labels", {})
    ]
    counts: dict[str, int] = {}
    for item in found:
        counts[item.label] = counts.get(item.label, 0) + 1
    return [item for item in found if counts[item.label] >= HELD_OUT_EVERY][:most]


def features(items: Sequence[Labelled], encode: Callable[[list[Image.Image]], Tensor], batch: int = 16) -> Tensor:
    """Mean image token of each picture, [pictures, channels]; ``encode`` turns pictures into tokens [B, N, C]."""
    rows = []
    for start in range(0, len(items), batch):
        pictures = [Image.open(item.path).convert("RGB") for item in items[start : start + batch]]
        rows.append(encode(pictures).float().mean(1))
    return torch.cat(rows)


def probe(rows: Tensor, labels: Sequence[str]) -> ProbeResult:
    """Fit on three quarters of the rows and score the fourth; the weight decay is chosen on a part of the fitted ones."""
    names = sorted(set(labels))
    target = torch.tensor([names.index(label) for label in labels])
    # Within each class every fourth picture is held out, whatever their order.
    order = np.zeros(len(labels), int)
    seen: dict[str, int] = {}
    for i, label in enumerate(labels):
        order[i] = seen[label] = seen.get(label, -1) + 1
    held = torch.from_numpy(order % HELD_OUT_EVERY == HELD_OUT_EVERY - 1)
    tuned = torch.from_numpy(order % HELD_OUT_EVERY == 0)
    rows = (rows - rows[~held].mean(0)) / (rows[~held].std(0) + 1e-6)
    choose = [(_accuracy(rows, target, ~held & ~tuned, tuned, decay), decay) for decay in WEIGHT_DECAYS]
    accuracy = _accuracy(rows, target, ~held, held, max(choose)[1])
    chance = float(torch.bincount(target[held]).max() / held.sum())
    return ProbeResult(accuracy, int(held.sum()), len(names), chance)


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
