"""Turned picture: a picture whose text runs at an angle → the same with its text level, and boxes back from it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

QUARTERS = {
    90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}  # the angle of text → what makes it level
Box = tuple[int, int, int, int]


class TurnedPicture:
    """A picture with its text level.

    Attributes:
        image: large enough to hold every corner; what was outside the picture has its most common colour.
    """

    def __init__(self, picture: Image.Image, angle: float) -> None:
        """
        Args:
            picture: RGB.
            angle: degrees by which its lines of text run up to the right, counter-clockwise; of quarter turns no pixel
                is computed anew.
        """
        self.size = picture.size
        angle %= 360
        self._cos, self._sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        width, height = picture.size
        if angle in QUARTERS:
            self.image = picture.transpose(QUARTERS[int(angle)])
        elif angle == 0:
            self.image = picture
        else:
            across, up = abs(self._cos), abs(self._sin)
            size = math.ceil(width * across + height * up), math.ceil(width * up + height * across)
            x, y = self._in_picture(-size[0] / 2, -size[1] / 2)
            matrix = (self._cos, self._sin, x + width / 2, -self._sin, self._cos, y + height / 2)
            paper = np.median(np.asarray(picture.resize((64, 64))).reshape(-1, 3), axis=0)
            fill = tuple(int(value) for value in paper)
            self.image = picture.transform(
                size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=fill
            )

    def _in_picture(self, x: float, y: float) -> tuple[float, float]:
        """A point of the turned picture in the picture; both from their centres."""
        return self._cos * x + self._sin * y, self._cos * y - self._sin * x

    def back(self, box: Box) -> Box:
        """The upright box, in the picture's own pixels, around a box of the turned one."""
        width, height = self.size
        corners = [
            self._in_picture(x - self.image.width / 2, y - self.image.height / 2) for x in box[::2] for y in box[1::2]
        ]
        xs, ys = zip(*corners, strict=True)
        return (
            max(0, round(min(xs) + width / 2)),
            max(0, round(min(ys) + height / 2)),
            min(width, round(max(xs) + width / 2)),
            min(height, round(max(ys) + height / 2)),
        )
