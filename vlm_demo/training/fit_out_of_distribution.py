"""Fit out-of-distribution: pictures like those trained on → what detects others (``out_of_distribution``).

The caller names the folders of pictures that stand for the trained ones. Seven in ten of them become the bank, two set
the threshold, and one checks it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vlm_demo.errors import VlmDemoError
from vlm_demo.explain.out_of_distribution import TrainingPictures, pooled
from vlm_demo.training.mixture import SHARES
from vlm_demo.training.photos_split import PERCENT, held_out

if TYPE_CHECKING:
    from vlm_demo import Pipeline
    from vlm_demo.engines.local import LocalEngine

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".avif")
COMPONENTS = 384
FALSE_POSITIVE_RATE = 0.01  # the share of the pictures like the trained ones that may fall outside
FEWEST = 8  # pictures


def pictures_in(folders: Sequence[Path], count: int, seed: int) -> list[Path]:
    """Up to ``count`` pictures that lie anywhere in the folders, in an order drawn from the seed.

    Folders of training pictures give as many as their share of the mixture says, and none that are held out; others
    give as many as a folder of an average share.

    Raises:
        VlmDemoError: there are hardly any.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in ENDINGS):
        source = path.parent.parent.name if path.parent.name == "img" else path.parent.name
        if source not in PERCENT or not held_out(source, f"{path.parent.name}/{path.name}"):
            found.setdefault(source, []).append(path)
    total = sum(map(len, found.values()))
    if total < FEWEST:
        raise VlmDemoError(f"{', '.join(map(str, folders))} holds {total} pictures; at least {FEWEST} are needed.")
    average = sum(SHARES.values()) / len(SHARES)
    shares = {source: SHARES.get(source, average) for source in found}
    rng = np.random.default_rng([seed, 5])
    chosen = [
        files[i]
        for source, files in found.items()
        for i in rng.permutation(len(files))[: math.ceil(count * shares[source] / sum(shares.values()))]
    ]
    return [chosen[i] for i in rng.permutation(len(chosen))[:count]]


def fitted(engine: LocalEngine, pictures: Sequence[Path]) -> tuple[TrainingPictures, float]:
    """Fit on these pictures, so that a share FALSE_POSITIVE_RATE of those that set the threshold fall outside.

    Returns:
        The fit, and the share of the last tenth of the pictures, which it did not use, that comes out inside.
    """
    features, channels = _features(engine.pipeline, pictures)
    checks = max(1, len(features) // 10)
    bank, calibration, test = features[: -3 * checks], features[-3 * checks : -checks], features[-checks:]
    training_pictures = fit(bank, calibration, channels)
    return training_pictures, float((training_pictures.cosine(test) >= training_pictures.threshold).float().mean())


def fit(bank: Tensor, calibration: Tensor, channels: int) -> TrainingPictures:
    """The principal components of pooled features [n, width], the bank in them, and a threshold from others
    [m, width]; for ``channels`` see ``TrainingPictures``."""
    components = min(COMPONENTS, *bank.shape)
    basis = torch.linalg.eigh(bank.T.double() @ bank.double()).eigenvectors[:, -components:].float()
    # Rounded as they will be saved, so that the threshold is of what is loaded.
    basis, rows = basis.bfloat16().float(), (bank @ basis).bfloat16().float()
    unlimited = TrainingPictures(basis, rows, torch.tensor(0.0), channels)
    return replace(unlimited, threshold=unlimited.cosine(calibration).quantile(FALSE_POSITIVE_RATE))


def _features(pipe: Pipeline, pictures: Sequence[Path]) -> tuple[Tensor, int]:
    """Pooled features float32 [n, width], and the channels of a last level."""
    last_level = int(getattr(getattr(pipe.model.config, "vision_config", None), "head", 0))  # 0: there is no other one
    rows, channels = [], last_level
    for path in pictures:
        patches = pipe.softened_patches(pipe.view(path))
        channels = last_level or patches.shape[-1]
        rows.append(pooled(patches[None], channels)[0])
    return torch.stack(rows), channels
