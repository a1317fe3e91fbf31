"""Table rules: a picture of a ruled table → the same without its lines, among which Tesseract reads little or nothing.

Knows ink and paper; nothing of what is printed.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

INK = 50  # of 255: how far from the paper's brightness ink is
SHORTEST, SHARE = 40, 12  # a rule is so many pixels long, or at least one part of so many of the picture's shorter side
THIN, THICKEST = 0.1, 14  # of its least length, or so many pixels: what is thicker is no rule
GRID = 3  # rules each way: a table of two rows and two columns has them
MOST_PIXELS = 16_000_000


def without_rules(image: Image.Image) -> Image.Image | None:
    """Paint long, thin, straight lines over with the colour of the paper, which most of the picture has.

    Args:
        image: RGB.
    Returns:
        A picture of the same size; None where there is no such line, or the picture has more than `MOST_PIXELS`.
    """
    rules = _rules(image)
    if rules is None or not (rules[0].any() or rules[1].any()):
        return None
    level, upright, crossings = rules
    # Two pixels around, for soft edges.
    mask = Image.fromarray(level | upright | crossings).convert("L").filter(ImageFilter.MaxFilter(5))
    paper = tuple(int(value) for value in np.median(np.asarray(image).reshape(-1, 3), axis=0))
    plain = image.copy()
    plain.paste(paper, mask=mask)
    return plain


def is_grid(image: Image.Image) -> bool:
    """Whether a picture (RGB) has the rules of a table: at least `GRID` that are level and as many upright ones
    cross."""
    rules = _rules(image)
    if rules is None:
        return False
    _, _, crossings = rules
    return all(_count(np.asarray(crossings.any(axis=axis))) >= GRID for axis in (0, 1))


def _rules(image: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Where level and where upright rules are, and where they cross; each bool [H, W]. None for a picture of more than
    `MOST_PIXELS`."""
    if image.width * image.height > MOST_PIXELS:
        return None
    grey = np.asarray(image.convert("L"), dtype=np.int16)
    ink = np.abs(grey - np.int16(np.median(grey))) > INK
    length = max(SHORTEST, min(image.size) // SHARE)
    thick = max(THICKEST, round(THIN * length)) + 1
    along, down = _runs(ink, length), _runs(ink.T, length).T
    level, upright = along & ~_runs(ink.T, thick).T, down & ~_runs(ink, thick)
    # What is long both ways is a crossing if rules lead to it, and else within a solid area.
    return level, upright, along & down & _near_rule(level) & _near_rule(upright.T).T


def _near_rule(level: np.ndarray) -> np.ndarray:
    """Where a level rule, bool [H, W], lies within `THICKEST` pixels to the left or right."""
    near = np.zeros_like(level)
    near[:, THICKEST:] |= level[:, :-THICKEST]
    near[:, :-THICKEST] |= level[:, THICKEST:]
    return near


def _count(flags: np.ndarray) -> int:
    """How many runs of True a bool [n] has."""
    return int((np.diff(flags.astype(np.int8), prepend=0) == 1).sum())


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
