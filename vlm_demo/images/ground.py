"""Ground: a picture with transparent parts → the same on a plain background on which the rest is visible."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Tried in this order, which decides between equals.
GROUNDS = (("white", 255), ("dark grey", 32), ("mid-grey", 128))
NEAR = 40  # levels of brightness: what differs less from its ground is hard to see
BEARABLE = 0.2  # the share of what is left that may be hard to see on white
LOOKED_AT = 512  # longest side of what is looked at for it


def on_ground(image: Image.Image) -> tuple[Image.Image, str]:
    """RGBA → RGB, and a note for the person; empty where nothing is transparent.

    Content lies on white, as on most pages; where it is itself light, on the ground that it differs from most.
    """
    alpha = image.getchannel("A")
    least, most = alpha.getextrema()
    if least == 255:
        return image.convert("RGB"), ""
    if most == 0:
        return image.convert("RGB"), "All of the picture is transparent, so it is shown without its transparency."
    name, level = _ground(image)
    shown = Image.new("RGB", image.size, (level,) * 3)
    shown.paste(image, mask=alpha)
    return shown, f"Transparent parts are shown on {name}."


def _ground(image: Image.Image) -> tuple[str, int]:
    small = image.copy() if max(image.size) <= LOOKED_AT else image.reduce(-(-max(image.size) // LOOKED_AT))
    weights = np.asarray(small.getchannel("A")).astype(np.float32)
    brightness = np.asarray(small.convert("RGB").convert("L")).astype(np.float32)
    total = max(float(weights.sum()), 1e-6)
    lost = [float(weights[np.abs(brightness - level) < NEAR].sum()) / total for _, level in GROUNDS]
    return GROUNDS[0 if lost[0] < BEARABLE else int(np.argmin(lost))]
