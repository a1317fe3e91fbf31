"""LLaVA-NeXT: LLaVA that also sees the picture at a higher resolution, in the tiles that fit its shape best.

Liu et al. 2024 (https://llava-vl.github.io/blog/2024-01-30-llava-next/). The language model reads the whole picture
made small, and then all tiles as one grid, row by row, with a token at the end of each row; patches of nothing but
padding are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_utils import select_best_resolution

from vlm_demo.contracts import BridgeInfo, PatchFeatures, PatchGrid, View
from vlm_demo.models.adapters.llava import Llava
from vlm_demo.models.patch_geometry import (
    Cut,
    Geometry,
    cells,
    joined,
    patch_grid,
    squashed,
    too_elongated,
    unplaceable,
)

# Of the longer to the shorter side: of a picture whose grid holds no patch, and that is squeezed more than so many
# times into a square, nothing can be seen.
LONGEST_RATIO = 100


class LlavaNext(Llava):
    """Adapter of ``LlavaNextForConditionalGeneration``; implements ``adapters.Writer``."""

    name = "llava_next"
    bridge_info = BridgeInfo(
        "projector", "each patch through a projector of two layers, with a token at each line's end"
    )

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        super().__init__(model, folder, tokenizer)
        self.side = self.config.vision_config.image_size
        self.tile_grid = self.grid(self.side, self.side)

    @staticmethod
    def model_class() -> Any:
        from transformers import LlavaNextForConditionalGeneration

        return LlavaNextForConditionalGeneration

    def cut(self, processor: Any, image: Image.Image) -> Cut:
        tiles = processor(images=image, return_tensors="pt")["pixel_values"][0]
        width, height = image.size
        canvas = select_best_resolution((height, width), self.config.image_grid_pinpoints)
        tiling = (canvas[0] // self.side, canvas[1] // self.side)
        if tuple(tiles.shape) != (tiling[0] * tiling[1] + 1, 3, self.side, self.side):
            raise unplaceable(processor)
        fit = min(canvas[0] / height, canvas[1] / width)
        # The processor rounds the fitted side up.
        fitted = [min(int(np.ceil(length * fit)), room) for length, room in zip(image.size, canvas[::-1], strict=True)]
        scale = (fitted[0] / width, fitted[1] / height)
        shift = (float((canvas[1] - fitted[0]) // 2), float((canvas[0] - fitted[1]) // 2))
        place = Geometry(scale, shift, canvas[::-1])
        rows, columns = (self.tile_grid[0] * tiling[0], self.tile_grid[1] * tiling[1])
        kept = _unpadded(rows, columns, image.size)
        lines = len(range(rows)[kept[0]]), len(range(columns)[kept[1]])
        thumbnail = patch_grid(squashed(image.size, (self.side, self.side)), self.tile_grid)
        if not all(lines):  # narrower than a patch: the language model gets the whole made small, and line ends
            if max(image.size) > LONGEST_RATIO * min(image.size):
                raise too_elongated(image.size)
            return Cut(tiles, tiles[0], (thumbnail,), squashed(image.size, (self.side, self.side)))
        boxes = place.to_upload(cells(place.size, rows, columns)).reshape(rows, columns, 4)[kept]
        small = self.tile_grid[0] * self.tile_grid[1]
        grid = self.pooled(lines)
        if grid != lines:
            boxes = _regular(boxes, grid)
        tokens = small + np.arange(grid[0] * (grid[1] + 1)).reshape(grid[0], -1)[:, :-1]
        fine = PatchGrid(grid, boxes.reshape(-1, 4), tokens.reshape(-1))
        shown = joined(tiles[1:], tiling)
        high, wide = shown.shape[1] // rows, shown.shape[2] // columns
        shown = shown[:, kept[0].start * high : kept[0].stop * high, kept[1].start * wide : kept[1].stop * wide]
        return Cut(tiles, shown, (fine, thumbnail), place, tiling)

    def pooled(self, lines: tuple[int, int]) -> tuple[int, int]:
        """The (rows, columns) of the grid's tokens where it has so many rows and columns of patches."""
        return lines

    def placeholders(self, view: View) -> int:
        if len(view.patch_grids) == 1:
            width, height = getattr(view, "given_size", view.size)
            rows = select_best_resolution((height, width), self.config.image_grid_pinpoints)[0] // self.side
            return len(view.boxes) + (rows * self.tile_grid[0] if height > width else 0)
        fine, thumbnail = view.patch_grids
        return len(thumbnail.tokens) + len(fine.tokens) + fine.grid[0]

    def bridge(self, patches: PatchFeatures) -> list[torch.Tensor]:
        tiles = [view.tiles for view in patches.views]
        tokens = list(super().bridge(patches).split(tiles))
        sizes = [getattr(view, "given_size", view.size)[::-1] for view in patches.views]
        return self.packed(tokens, sizes)

    def packed(self, tokens: list[torch.Tensor], sizes: list[tuple[int, int]]) -> list[torch.Tensor]:
        """[tiles, patches, d_llm] of each picture of (height, width) → [tokens, d_llm]."""
        inner = self.model.model
        strategy = self.config.vision_feature_select_strategy
        return inner.pack_image_features(tokens, sizes, strategy, image_newline=inner.image_newline)[0]


def _unpadded(rows: int, columns: int, size: tuple[int, int]) -> tuple[slice, slice]:
    """Which rows and columns of patches the model keeps of a padded picture that was (width, height)."""
    width, height = size
    if width / height > columns / rows:
        padding = (rows - int(round(height * (columns / width), 7))) // 2
        return slice(padding, rows - padding), slice(0, columns)
    padding = (columns - int(round(width * (rows / height), 7))) // 2
    return slice(0, rows), slice(padding, columns - padding)


def _regular(boxes: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Boxes [.., .., 4] of a grid → those of one of (rows, columns) over the same area."""
    x0, y0, x1, y1 = (*boxes[0, 0, :2], *boxes[-1, -1, 2:])
    x, y = np.linspace(x0, x1, grid[1] + 1), np.linspace(y0, y1, grid[0] + 1)
    low, high = np.meshgrid(x[:-1], y[:-1]), np.meshgrid(x[1:], y[1:])
    return np.stack([*low, *high], -1).astype(np.float32)
