"""World: what pictures like the trained ones look like to the encoder, so that a stranger can be told from them.

Logistic regression on the encoder's pooled patch features: given pictures against `synthetic/strange.py`. Which
pictures stand for the trained ones is the caller's to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from vlm_demo.errors import VlmDemoError
from vlm_demo.explain.out_of_distribution import TrainingDistribution, pooled
from vlm_demo.training.worlds.strange import draw_strange

if TYPE_CHECKING:
    from vlm_demo import Pipeline

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".avif")
DECAY = 1e-3
REFUSED = 0.01  # the share of the pictures like the trained ones that may fall outside
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


def fitted(pipe: Pipeline, pictures: Sequence[Path], seed: int) -> tuple[TrainingDistribution, dict[str, float]]:
    """Fit the reader on one half, and set its threshold on the other so that 1 in 100 of the pictures falls outside.

    Args:
        pictures: such as the model was trained on; as many strange ones are drawn from the seed.
    Returns:
        The reader, and the shares of ``pictures`` and ``strange``, of the halves not fitted on, that come out inside.
    """
    rngs = (np.random.default_rng([seed, 5, i]) for i in range(len(pictures)))
    inside = _features(pipe, pictures)
    strange = _features(pipe, (draw_strange(rng) for rng in rngs))
    half = len(pictures) // 2
    world = fit(torch.cat([inside[:half], strange[:half]]), torch.arange(2 * half) < half)
    held = inside[half:] @ world.weight
    world = TrainingDistribution(world.weight, -held.quantile(REFUSED)[None])
    return world, {
        "pictures": float((held + world.bias >= 0).float().mean()),
        "strange": float((strange[half:] @ world.weight + world.bias >= 0).float().mean()),
    }


def _features(pipe: Pipeline, images: Iterable[Path | Image.Image]) -> Tensor:
    """Pooled features float32 [n, 2d], without the tokens before the patches'."""
    leading = pipe.encoder.family.leading_tokens
    return torch.stack([pooled(pipe.encoder(pipe.view(image)).features[0, leading:].cpu()) for image in images])


def fit(features: Tensor, inside: Tensor) -> TrainingDistribution:
    """Logistic regression on standardised features [n, 2d] with labels bool [n], L2-penalised."""
    mean, spread = features.mean(0), features.std(0) + 1e-6
    points, labels = ((features - mean) / spread).double(), inside.double()
    weight = torch.zeros(points.shape[1], dtype=torch.double, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.binary_cross_entropy_with_logits(points @ weight + bias, labels)
        value = value + DECAY * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    scaled = (weight.detach() / spread).float()
    return TrainingDistribution(scaled, (bias.detach() - scaled.double() @ mean.double()).float())
