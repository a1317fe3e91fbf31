"""Start: where a small vision transformer begins, so that it need not first discover that pictures have two dimensions.

Changes initial values only; the architecture stays CLIP's.
"""

from __future__ import annotations

import torch
from transformers import CLIPVisionModel

POSITION_SIZE, LOOK_ALIKE = 0.6, 1.0
PATCH_SIZE_OUT, NOISE_FLOOR = 0.5, 1e-4


def sine_positions(grid: int, width: int) -> torch.Tensor:
    """[grid * grid, width] sines and cosines of row and column, a quarter of the width each (Vaswani et al. 2017,
    section 3.5, once for each axis): neighbours get similar vectors."""
    frequencies = 1.0 / 20.0 ** (torch.arange(width // 4) / (width // 4))
    place = torch.arange(grid).float()[:, None] * frequencies
    axis = torch.cat([place.sin(), place.cos()], 1)  # [grid, width / 2]
    rows = axis[:, None].expand(grid, grid, -1)
    columns = axis[None].expand(grid, grid, -1)
    # Interleaved, so that every attention head holds some of both axes.
    return torch.stack([rows, columns], -1).reshape(grid * grid, width)


@torch.no_grad()
def whiten(vit: CLIPVisionModel, pixel_values: torch.Tensor) -> None:
    """Begin the patch embedding as the principal components of real patches, each scaled to the same spread: edges
    then weigh as much as brightness from the first step (whitening of the input, LeCun et al. 1998, "Efficient
    BackProp", section 4.3).

    Args:
        pixel_values: sample pictures [n, 3, h, w], normalised.
    """
    embedding = getattr(vit, "vision_model", vit).embeddings.patch_embedding
    size = embedding.kernel_size[0]
    patches = torch.nn.functional.unfold(pixel_values, size, stride=size).transpose(1, 2).flatten(0, 1)
    # Flat patches teach nothing about edges and would only scale every component alike.
    patches = patches[patches.std(1) > 0.02]
    values, vectors = torch.linalg.eigh(torch.cov(patches.T.double()))
    width = embedding.out_channels
    values, vectors = values.flip(0)[:width], vectors.flip(1)[:, :width]
    weight = vectors / (values + NOISE_FLOOR * values[0]).sqrt() * PATCH_SIZE_OUT
    embedding.weight.copy_(weight.T.reshape(embedding.weight.shape))


@torch.no_grad()
def prepare(vit: CLIPVisionModel) -> None:
    """Sine positions, and attention that begins by looking at what is alike and near: query and key projections close
    to the identity (after Trockman & Kolter 2023, "Mimetic initialization of self-attention layers")."""
    core = getattr(vit, "vision_model", vit)
    config = vit.config
    grid = config.image_size // config.patch_size
    positions = core.embeddings.position_embedding.weight
    positions[1:] = POSITION_SIZE * sine_positions(grid, config.hidden_size)
    eye = torch.eye(config.hidden_size)
    for layer in core.encoder.layers:
        for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj):
            projection.weight.mul_(0.5).add_(LOOK_ALIKE * eye)


@torch.no_grad()
def finer(kernel: torch.Tensor, size: int) -> torch.Tensor:
    """A patch embedding's kernel [d, 3, n, n] for patches of ``size`` pixels a side instead of n that gives enlarged
    patches the same features (Beyer et al. 2023, "FlexiViT", https://arxiv.org/abs/2212.08013, equation 5)."""
    old = kernel.shape[-1]
    points = torch.eye(old * old, dtype=torch.float64).reshape(old * old, 1, old, old)
    enlarge = torch.nn.functional.interpolate(points, size=(size, size), mode="bilinear").reshape(old * old, -1)
    flat = kernel.double().reshape(-1, old * old) @ torch.linalg.pinv(enlarge).T
    return flat.reshape(*kernel.shape[:2], size, size).to(kernel.dtype)
