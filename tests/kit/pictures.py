"""Small pictures that no generator of this project has drawn, and pictures as files."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file that a picture is saved as."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(colour: str = "red", size: tuple[int, int] = (30, 20)) -> bytes:
    """A file of one colour."""
    return saved(Image.new("RGB", size, colour), "PNG")


def disc(colour: str, size: tuple[int, int] = (500, 240)) -> Image.Image:
    """A circle of one colour left of the middle."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((120, 60, 220, 160), fill=colour)
    return image
