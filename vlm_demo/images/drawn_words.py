"""Drawn words: a word and a height → a picture of it, to see how small a model, or OCR, reads."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

WORDS = ("STOP", "MILK", "PARK", "HOTEL", "BREAD", "NORTH", "OPEN", "TAXI")
QUESTION = "What does the text say?"


def drawn(word: str, height: int, size: tuple[int, int]) -> Image.Image | None:
    """A word of capitals whose ink is ``height`` pixels high, in the middle of a white picture; None where it is too
    wide."""
    font = ImageFont.load_default(100)
    left, top, right, bottom = font.getbbox(word)
    font = ImageFont.load_default(100 * height / (bottom - top))
    left, top, right, bottom = font.getbbox(word)
    if right - left > size[0]:
        return None
    picture = Image.new("RGB", size, "white")
    at = (size[0] - right - left) / 2, (size[1] - bottom - top) / 2
    ImageDraw.Draw(picture).text(at, word, "black", font)
    return picture
