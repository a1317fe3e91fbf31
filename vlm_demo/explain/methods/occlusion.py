"""Occlusion: hide a small window of the picture, and see how much less likely the word becomes. Slow, and causal.

Zeiler and Fergus 2014 (https://arxiv.org/abs/1311.2901, section 4.3), with a blur in place of a grey square, which
would be a thing of its own.
"""

from __future__ import annotations

import numpy as np

from vlm_demo.contracts.geometry import inside
from vlm_demo.explain.methods.request import MapInputs

SPANS = (1 / 7, 2 / 7)  # a window's side as a share of the grid's longer one; things come in more than one size


def cells(request: MapInputs) -> np.ndarray:
    """[patches], never below 0: the fall in nats of the word's log-probability, the other words given, for each patch
    the mean over the windows that hide it. Each window's fall is divided among its patches, so a small window says more
    of each than a large one does."""
    windows = windows_of(request.view.grid)
    windows = windows[(windows & inside(request.view)).any(1)]  # to hide padding changes nothing
    nothing = np.zeros((1, windows.shape[1]), bool)
    logs = request.teacher_forcing.likelihoods(request.answer, request.image, np.concatenate([nothing, windows]))
    fall = (logs[:1] - logs[1:])[:, list(request.steps)].mean(1)  # [windows]
    return spread(fall, windows)


def spread(fall: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """The falls [windows] on the patches of the windows bool [windows, patches] → [patches]."""
    return np.maximum((fall / windows.sum(1)) @ windows / np.maximum(windows.sum(0), 1), 0)


def windows_of(grid: tuple[int, int]) -> np.ndarray:
    """bool [windows, rows * columns]: squares of patches that step by half their side and end at the edges."""
    rows, columns = grid
    masks = []
    for span in SPANS:
        side = max(1, round(max(grid) * span))
        for top in _starts(rows, side):
            for left in _starts(columns, side):
                mask = np.zeros(grid, bool)
                mask[top : top + side, left : left + side] = True
                masks.append(mask.ravel())
    return np.array(masks)


def _starts(length: int, side: int) -> list[int]:
    """Where windows of ``side`` begin so that they cover ``length`` and overlap by half."""
    last = max(length - side, 0)
    return sorted({*range(0, last, (side + 1) // 2), last})
