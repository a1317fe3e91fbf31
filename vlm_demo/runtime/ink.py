"""Ink: a picture on plain paper and the boxes of the words that were read → whether something else is printed there.

Knows ink and paper; nothing of what is printed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

INK = 24  # of 255: how far from the paper's brightness ink is, grey print too
MARGIN = 0.2  # of a box's height that letters may reach beyond it, and never less than 2 pixels
LEFT_OVER = 0.002  # of the ink: dust, and the soft edges of letters
MOST_INK = 0.3  # of the picture: of more, there is no plain paper
MOST_PIXELS = 16_000_000


def all_within(image: Image.Image, boxes: Iterable[tuple[int, int, int, int]]) -> bool:
    """Whether nothing is printed outside of these boxes.

    Args:
        image: RGB. One without plain paper (a photograph), without ink, or of more than `MOST_PIXELS` gives False.
        boxes: x0, y0, x1, y1 in its pixels.
    """
    if image.width * image.height > MOST_PIXELS:
        return False
    grey = np.asarray(image.convert("L"), dtype=np.int16)
    ink = np.abs(grey - np.int16(np.median(grey))) > INK
    total = int(ink.sum())
    if not 0 < total <= MOST_INK * ink.size:
        return False
    for x0, y0, x1, y1 in boxes:
        margin = max(2, round(MARGIN * (y1 - y0)))
        ink[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin] = False
    return int(ink.sum()) <= LEFT_OVER * total
