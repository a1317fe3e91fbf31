"""Views of blank pictures, laid out by hand: no processor and no model."""

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


def view(size: tuple[int, int], grid: tuple[int, int], seen: tuple[float, float, float, float] | None = None) -> View:
    """A view of ``size`` whose grid covers the box ``seen`` (or the whole)."""
    x0, y0, x1, y1 = seen or (0, 0, *size)
    rows, columns = grid
    across, down = np.linspace(x0, x1, columns + 1), np.linspace(y0, y1, rows + 1)
    boxes = [(across[j], down[i], across[j + 1], down[i + 1]) for i in range(rows) for j in range(columns)]
    return View(Image.new("RGB", size), size, None, grid, np.array(boxes, np.float32))


def read(*heights: float, confidence: float = 95.0, upward: bool = False) -> OcrResult:
    """Words of these heights in the upload's pixels."""
    boxes = [(10, 10, 10 + round(h), 90) if upward else (10, 10, 90, 10 + round(h)) for h in heights]
    return OcrResult("TOTAL " * len(boxes), tuple(OcrWord("TOTAL", box, confidence) for box in boxes), 0.1)
