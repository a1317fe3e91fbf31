"""Table rules: a picture of a ruled table → the same without its lines, among which Tesseract reads little or nothing.

Knows ink and paper; nothing of what is printed.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

INK = 50  # of 255: how far from the paper's brightness ink is
SHORTEST, SHARE = 40, 12  # a rule is so many pixels long, or at least one part of so many of the picture's shorter side
THIN = 0.1  # of its least length: what is thicker is no rule
MOST_PIXELS = 16_000_000


def without_rules(image: Image.Image) -> Image.Image | None:
    """Paint long, thin, straight lines over with the colour of the paper, which most of the picture has.

    Args:
        image: RGB.
    Returns:
        A picture of the same size; None where there is no such line, or the picture has more than `MOST_PIXELS`.
    """
    if image.width * image.height > MOST_PIXELS:
        return None
    grey = np.asarray(image.convert("L"), dtype=np.int16)
    ink = np.abs(grey - np.int16(np.median(grey))) > INK
    length = max(SHORTEST, min(image.size) // SHARE)
    thick = max(4, round(THIN * length)) + 1
    level = _runs(ink, length) & ~_runs(ink.T, thick).T
    upright = _runs(ink.T, length).T & ~_runs(ink, thick)
    if not (level.any() or upright.any()):
        return None
    # Two pixels around, for soft edges and for crossings, which are neither.
    lines = Image.fromarray(level | upright).convert("L").filter(ImageFilter.MaxFilter(5))
    paper = tuple(int(value) for value in np.median(np.asarray(image).reshape(-1, 3), axis=0))
    plain = image.copy()
    plain.paste(paper, mask=lines)
    return plain


def _runs(ink: np.ndarray, length: int) -> np.ndarray:
    """Where at least so many pixels of ink stand side by side: bool [H, W] for bool [H, W]."""
    edges = np.diff(np.pad(ink.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, begins = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    long = ends - begins >= length
    steps = np.zeros_like(edges)
    steps[rows[long], begins[long]] = 1
    steps[rows[long], ends[long]] = -1
    return np.cumsum(steps, axis=1, dtype=np.int8)[:, :-1] > 0
