"""Mosaics: weights on image tokens → weights on the patches of the finest grid that a picture was laid out on.

A picture that is cut into tiles is given twice, in tiles and as a thumbnail. A thumbnail's patch covers several of the
tiles', so its weight is spread over them by area; what rests on tokens of no place (line ends) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlm_demo.contracts import PatchGrid


def on_patches(weights: np.ndarray, patch_grids: Sequence[PatchGrid]) -> np.ndarray:
    """float32 [..., image tokens of one picture] → [..., patches of the finest mosaic]."""
    finest, *coarser = patch_grids
    found = weights[..., finest.tokens]
    for own in coarser:
        down, across = _spread(own, finest, 1), _spread(own, finest, 0)
        held = weights[..., own.tokens].reshape(*weights.shape[:-1], *own.grid)
        found = found + (down @ held @ across.T).reshape(found.shape)
    return found


def _spread(coarse: PatchGrid, fine: PatchGrid, axis: int) -> np.ndarray:
    """float32 [fine, coarse]: how much of each coarse row (axis 1) or column (axis 0) lies in each fine one."""
    from_begin, from_end = _edges(coarse, axis)
    to_begin, to_end = _edges(fine, axis)
    shared = np.minimum(from_end, to_end[:, None]) - np.maximum(from_begin, to_begin[:, None])
    return (np.maximum(shared, 0) / (from_end - from_begin)).astype(np.float32)


def _edges(mosaic: PatchGrid, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the rows (axis 1) or columns (axis 0) of a mosaic begin and end, in the upload's pixels."""
    boxes = mosaic.boxes.reshape(*mosaic.grid, 4)
    line = boxes[:, 0] if axis else boxes[0]
    return line[:, axis], line[:, axis + 2]
