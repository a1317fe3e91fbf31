"""Fonts: the ones that matplotlib carries, so that a picture drawn by seed looks the same on every machine."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

FAMILIES = {
    "sans": "DejaVuSans.ttf",
    "sans-bold": "DejaVuSans-Bold.ttf",
    "mono": "DejaVuSansMono.ttf",
    "mono-bold": "DejaVuSansMono-Bold.ttf",
    "serif": "DejaVuSerif.ttf",
    "times": "STIXGeneral.ttf",
}
HELD_OUT_FAMILY = "serif-bold"
_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@lru_cache(maxsize=256)
def font(family: str, size: int) -> ImageFont.FreeTypeFont:
    """The face of ``family`` at ``size`` pixels."""
    name = "DejaVuSerif-Bold.ttf" if family == HELD_OUT_FAMILY else FAMILIES[family]
    return ImageFont.truetype(str(_FOLDER / name), size)
