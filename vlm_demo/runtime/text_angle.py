"""Text angle: a picture → how far its lines of text are turned, from how sharply ink falls into rows.

Knows ink and paper; nothing of what is printed. Pages that lie on their side or head look level to it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

INK = 40  # of 255: how much darker or lighter than what lies around it ink is
SIDE = 900  # pixels of the longer side at which it is looked at
MOST_INK = 40_000  # points of ink that are projected; of more, an even share
CLEAR = 1.4  # so many times sharper than at every other angle rows are where there is text
NEAR = 5  # degrees that count as the same angle there


def text_angle(image: Image.Image) -> float | None:
    """How many degrees the lines of text run up to the right, counter-clockwise: -90..90.

    Along each angle the ink is projected (Postl 1986): lines of text fall into full rows with empty ones between them,
    whose differences are the largest there are. A page on its head looks the same.

    Args:
        image: RGB.
    Returns:
        Degrees, to about 0.2, a quarter turn as exactly 90; None where no angle is clearly the sharpest, as in most
        photographs.
    """
    scale = min(1.0, SIDE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    grey = image.convert("L").resize(size, Image.Resampling.BOX)
    around = np.asarray(grey.filter(ImageFilter.BoxBlur(15)), dtype=np.int16)
    ink = np.argwhere(np.abs(np.asarray(grey, dtype=np.int16) - around) > INK)
    if len(ink) < 50:
        return None
    rng = np.random.default_rng(0)
    if len(ink) > MOST_INK:
        ink = ink[rng.permutation(len(ink))[:MOST_INK]]
    # Anywhere within its pixel: at some angles a lattice of points falls into rows by itself.
    y, x = (ink + rng.random(ink.shape) - np.array(size)[::-1] / 2).T
    angles = np.arange(-89.0, 91.0)
    sharp = np.array([_sharpness(x, y, angle) for angle in angles])
    best = float(angles[sharp.argmax()])
    apart = np.abs((angles - best + 90) % 180 - 90)
    if sharp.max() < CLEAR * sharp[apart > NEAR].max():
        return None
    finer = np.arange(best - 1, best + 1.01, 0.2)
    best = float(finer[np.argmax([_sharpness(x, y, angle) for angle in finer])])
    return 90.0 if abs(abs(best) - 90) < 1 else best


def _sharpness(x: np.ndarray, y: np.ndarray, angle: float) -> float:
    """The squared differences of neighbouring rows of ink, seen along lines that run up by ``angle`` degrees."""
    turn = np.deg2rad(angle)
    rows = np.floor(y * np.cos(turn) + x * np.sin(turn)).astype(np.int64)
    return float((np.diff(np.bincount(rows - rows.min())) ** 2).sum())
