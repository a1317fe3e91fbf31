"""World: what pictures from the synthetic world look like to the encoder, so that a stranger can be told from them.

Logistic regression on the encoder's pooled patch features, drawn pictures against `synthetic/strange.py`. No photograph
takes part.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from vlm_demo.explain.world import World, pooled, save
from vlm_demo.synthetic.areas import AREAS
from vlm_demo.synthetic.strange import draw_strange
from vlm_demo.training.patches import as_pixel_values, model_pixels

PICTURES = 1200  # of each side; half of them set the weights, the others the threshold
DECAY = 1e-3
REFUSED = 0.01  # the share of drawn pictures that may fall outside


def save_world(model, target: Path, seed: int) -> dict[str, float]:
    """Fit the reader, set its threshold so that 1 in 100 drawn pictures falls outside, write
    ``target/world.safetensors``.

    Returns:
        The shares of the drawn and of the strange pictures, of the halves not fitted on, that come out inside.
    """
    rngs = [np.random.default_rng([seed, 5, i]) for i in range(PICTURES)]
    areas = list(AREAS.values())
    drawn = _features(model, [areas[i % len(areas)].draw(rng, False).image for i, rng in enumerate(rngs)])
    strange = _features(model, [draw_strange(rng) for rng in rngs])
    half = PICTURES // 2
    world = fit(torch.cat([drawn[:half], strange[:half]]), torch.arange(2 * half) < half)
    held = drawn[half:] @ world.weight
    world = World(world.weight, -held.quantile(REFUSED)[None])
    save(target, world)
    return {
        "drawn": float((held + world.bias >= 0).float().mean()),
        "strange": float((strange[half:] @ world.weight + world.bias >= 0).float().mean()),
    }


@torch.no_grad()
def _features(model, images: list[Image.Image]) -> Tensor:
    """Pooled features float32 [n, 2d]."""
    vision = model.model.vision_tower
    features = []
    for start in range(0, len(images), 32):
        pixels = torch.from_numpy(np.stack([model_pixels(image) for image in images[start : start + 32]]))
        features.append(pooled(vision(as_pixel_values(pixels).to(vision.dtype)).last_hidden_state[:, 1:]))
    return torch.cat(features)


def fit(features: Tensor, inside: Tensor) -> World:
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
    return World(scaled, (bias.detach() - scaled.double() @ mean.double()).float())
