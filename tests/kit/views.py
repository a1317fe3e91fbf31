"""Views of white pictures, laid out by hand: no processor and no model."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vlm_demo.contracts import OcrResult, OcrWord, View


def whole(size: tuple[int, int], seen: tuple[int, int], grid: tuple[int, int] = (4, 4)) -> View:
    """All of an upload of (width, height), stretched to ``seen``."""
    rows, columns = grid
    row, column = np.divmod(np.arange(rows * columns), columns)
    across, down = size[0] / columns, size[1] / rows
    boxes = np.stack([column * across, row * down, (column + 1) * across, (row + 1) * down], 1).astype(np.float32)
    return View(Image.new("RGB", size, "white"), size, np.zeros((seen[1], seen[0], 3), np.uint8), grid, boxes)


def read(*heights: float, confidence: float = 95.0, upward: bool = False) -> OcrResult:
    """Words of these heights in the upload's pixels."""
    boxes = [(10, 10, 10 + round(h), 90) if upward else (10, 10, 90, 10 + round(h)) for h in heights]
    return OcrResult("TOTAL " * len(boxes), tuple(OcrWord("TOTAL", box, confidence) for box in boxes), 0.1)
