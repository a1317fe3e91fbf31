"""World: what pictures from the synthetic world look like to the encoder, so that a stranger can be told from them.

A Gaussian over the encoder's pooled patch features; a picture whose Mahalanobis distance no drawn picture reaches is
outside (Lee et al. 2018, https://arxiv.org/abs/1807.03888, on the one class "drawn here").
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vlm_demo.explain.world import World, mahalanobis, pooled, save
from vlm_demo.synthetic.charts import draw_chart
from vlm_demo.synthetic.receipts import draw_receipt
from vlm_demo.synthetic.scenes import draw_scene
from vlm_demo.training.patches import as_pixel_values, model_pixels

PICTURES = 1600
DRAW = (draw_scene, draw_scene, draw_chart, draw_receipt)


@torch.no_grad()
def save_world(model, target: Path, seed: int) -> None:
    """Fit the Gaussian on half of PICTURES, set the two limits on the other half, write ``target/world.safetensors``.

    ``scale`` [2]: the distance that 1 in 100 drawn pictures exceeds, and one and a half times the largest.
    """
    features = []
    for start in range(0, PICTURES, 32):
        pictures = [DRAW[i % 4](np.random.default_rng([seed, 5, i])).image for i in range(start, start + 32)]
        pixels = torch.from_numpy(np.stack([model_pixels(image) for image in pictures]))
        vision = model.model.vision_tower
        patches = vision(as_pixel_values(pixels).to(vision.dtype)).last_hidden_state[:, 1:]
        features += [pooled(one) for one in patches]
    known = torch.stack(features).double()
    fitted, others = known[: PICTURES // 2], known[PICTURES // 2 :]
    mean = fitted.mean(0)
    spread = torch.cov((fitted - mean).T)
    ridge = 0.05 * spread.diagonal().mean()
    precision = torch.linalg.inv(spread + ridge * torch.eye(len(mean), dtype=torch.double))
    distance = mahalanobis(others, mean, precision)
    scale = torch.stack([distance.quantile(0.99), 1.5 * distance.max()])
    save(target, World(mean.float(), precision.float(), scale.float()))
