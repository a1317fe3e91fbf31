"""Printed: a few lines of text as a picture, for whatever reads text."""

from PIL import Image, ImageDraw, ImageFont

LINES = ["GREEN MARKET", "Coffee 2.50", "TOTAL 12.50"]


def printed(lines: list[str], size: int = 28, spacing: int = 44) -> Image.Image:
    image = Image.new("RGB", (420, 40 + spacing * len(lines)), "white")
    pen = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        pen.text((30, 20 + spacing * i), line, "black", ImageFont.load_default(size))
    return image
