"""Fit out-of-distribution: pictures like those trained on → what detects others (``out_of_distribution``).

The caller chooses the pictures that stand for the trained ones. Seven in ten of them become the bank, two set the
threshold, and one checks it. Pictures that are stored small are sometimes sharpened, as in training, for
uploads are sharper.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlm_demo.errors import VlmDemoError
from vlm_demo.explain.out_of_distribution import TrainingPictures, pooled
from vlm_demo.training.mixture import SHARPENED, sharpened

if TYPE_CHECKING:
    from vlm_demo import Pipeline
    from vlm_demo.engines.local import LocalEngine

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".avif")
COMPONENTS = 256
FALSE_POSITIVE_RATE = 0.003  # the share of the pictures like the trained ones that may fall outside
FEWEST = 8  # pictures


def pictures_in(folders: Sequence[Path], count: int, seed: int) -> list[Path]:
    """Up to ``count`` pictures that lie anywhere in the folders, in an order drawn from the seed.

    Raises:
        VlmDemoError: there are hardly any.
    """
    files = (path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    found = sorted(files)
    if len(found) < FEWEST:
        raise VlmDemoError(f"{', '.join(map(str, folders))} holds {len(found)} pictures; at least {FEWEST} are needed.")
    order = np.random.default_rng([seed, 5]).permutation(len(found))[:count]
    return [found[i] for i in order]


def fitted(engine: LocalEngine, pictures: Sequence[Path], seed: int) -> tuple[TrainingPictures, float]:
    """Fit on these pictures, so that a share FALSE_POSITIVE_RATE of those that set the threshold fall outside.

    Returns:
        The fit, and the share of the last tenth of the pictures, which it did not use, that comes out inside.
    """
    features = _features(engine.pipeline, pictures, seed)
    checks = max(1, len(features) // 10)
    bank, calibration, test = features[: -3 * checks], features[-3 * checks : -checks], features[-checks:]
    training_pictures = fit(bank, calibration)
    return training_pictures, float((training_pictures.cosine(test) >= training_pictures.threshold).float().mean())


def fit(bank: Tensor, calibration: Tensor) -> TrainingPictures:
    """The principal components of pooled features [n, channels], the bank in them, and a threshold from others
    [m, channels]."""
    components = min(COMPONENTS, *bank.shape)
    basis = torch.linalg.eigh(bank.T.double() @ bank.double()).eigenvectors[:, -components:].float()
    # Rounded as they will be saved, so that the threshold is of what is loaded.
    basis, rows = basis.bfloat16().float(), (bank @ basis).bfloat16().float()
    threshold = TrainingPictures(basis, rows, torch.tensor(0.0)).cosine(calibration).quantile(FALSE_POSITIVE_RATE)
    return TrainingPictures(basis, rows, threshold)


def _features(pipe: Pipeline, pictures: Sequence[Path], seed: int) -> Tensor:
    """Pooled features float32 [n, channels], without the tokens before the patches'; of an EfficientNet those of its
    last level alone."""
    model = pipe.scoring or pipe.stages()
    rows = []
    for i, path in enumerate(pictures):
        rng = np.random.default_rng([seed, 6, i])
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        if rng.random() < SHARPENED:
            image = sharpened(image, rng)
        patches = model.encoder(pipe.view(image)).features[:, model.family.leading_tokens :].cpu()
        rows.append(pooled(patches, _channels(pipe, patches))[0])
    return torch.stack(rows)


def _channels(pipe: Pipeline, patches: Tensor) -> int:
    """Of a tower with two levels the channels of the last one, else all."""
    vision = getattr(pipe.model.config, "vision_config", None)
    return int(getattr(vision, "head", 0)) or patches.shape[-1]
