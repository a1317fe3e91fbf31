"""Scene backgrounds: plain, graded or textured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from vlm_demo.training.worlds.scene_shapes import RGB
from vlm_demo.training.worlds.world import COLOURS, drawn_colour

TILE = 160  # pixels after which noise is repeated: drawing all of it would take most of the time
TEXTURES = ("noise", "stripes", "checks", "dots", "paper")


@dataclass(frozen=True)
class Background:
    """A background: its name if it has one colour that has a name, the colours it ranges over, and its picture."""

    name: str | None
    colours: tuple[RGB, ...]
    image: Image.Image


def draw_background(rng: np.random.Generator, width: int, height: int, plain: bool = False) -> Background:
    """Any background, or any of one colour."""
    styles = ["white", "light", "black", "any", "gradient", "texture"]
    shares = [0.55, 0.2, 0.05, 0.2, 0, 0] if plain else [0.28, 0.18, 0.16, 0.1, 0.12, 0.16]
    style = str(rng.choice(styles, p=shares))
    if style == "white":
        v = 255 if rng.random() < 0.6 else int(rng.integers(244, 256))
        return _plain("white", (v, v, v), width, height)
    if style == "black":
        v = int(rng.integers(0, 16))
        return _plain("black", (v, v, v), width, height)
    if style == "any":
        name = str(rng.choice(list(COLOURS)))
        return _plain(name, drawn_colour(name, rng), width, height)
    base = light_colour(rng) if style == "light" or rng.random() < 0.75 else _bytes(rng.integers(20, 200, 3))
    if style == "light":
        return _plain(None, base, width, height)
    spread = 60 if style == "gradient" else 26
    other = _bytes(np.add(base, rng.integers(-spread, spread + 1, 3)))
    share = _ramp(rng, width, height) if style == "gradient" else _texture(rng, width, height)
    pixels = np.add(base, share[..., None] * np.subtract(other, base).astype(np.float32))
    return Background(None, (base, other), Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))


def dark_background(rng: np.random.Generator, width: int, height: int) -> Background:
    """A black or nearly black background with sensor noise."""
    v = int(rng.integers(0, 12) if rng.random() < 0.8 else rng.integers(12, 40))
    plain = _plain("black" if v < 16 else None, (v, v, v), width, height)
    return Background(plain.name, plain.colours, noisy(plain.image, rng, rng.uniform(0, 8)))


def light_colour(rng: np.random.Generator) -> RGB:
    """A light colour without a name."""
    return _bytes(rng.integers(200, 246) + rng.integers(-18, 19, 3))


def noisy(image: Image.Image, rng: np.random.Generator, strength: float) -> Image.Image:
    """The picture with noise of this standard deviation."""
    tile = rng.standard_normal((min(image.height, TILE), min(image.width, TILE), 1), dtype=np.float32) * strength
    pixels = np.asarray(image) + _tiled(tile, image.width, image.height)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _plain(name: str | None, rgb: RGB, width: int, height: int) -> Background:
    return Background(name, (rgb,), Image.new("RGB", (width, height), rgb))


def _bytes(values: np.ndarray) -> RGB:
    r, g, b = (int(v) for v in np.clip(values, 0, 255))
    return r, g, b


def _tiled(tile: np.ndarray, width: int, height: int) -> np.ndarray:
    rows, columns = -(-height // tile.shape[0]), -(-width // tile.shape[1])
    return np.tile(tile, (rows, columns, 1))[:height, :width]


def _ramp(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """float32 [height, width]: how far each point is on the way from one end to the other, 0..1."""
    x = np.linspace(0, 1, width, dtype=np.float32)[None]
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    style = rng.random()
    if style < 0.2:  # a glow
        return np.minimum(1, np.hypot(x - np.float32(rng.random()), y - np.float32(rng.random())))
    slant = np.float32(0 if style < 0.45 else 1 if style < 0.7 else rng.random())
    return x * slant + y * (1 - slant)


def _texture(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """float32 [height, width]: how much each point has of the second colour, 0..1."""
    x, y = np.arange(width)[None], np.arange(height)[:, None]
    step = max(3, int(min(width, height) * rng.uniform(0.03, 0.14)))
    style = str(rng.choice(TEXTURES))
    share: np.ndarray
    if style == "stripes":
        a, b = ((1, 0), (0, 1), (1, 1), (1, -1))[int(rng.integers(4))]
        share = (a * x + b * y) // step % 2
    elif style == "checks":
        share = (x // step + y // step) % 2
    elif style == "dots":
        share = (x % step - step / 2) ** 2 + (y % step - step / 2) ** 2 < (step * rng.uniform(0.15, 0.3)) ** 2
    else:
        grain_size = step if style == "noise" else int(rng.integers(1, 3))
        grain = rng.random((max(2, min(height, TILE) // grain_size), max(2, min(width, TILE) // grain_size, 1)))
        blurred = Image.fromarray((grain * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
        share = np.asarray(blurred) / 255
    return np.broadcast_to(share, (height, width)).astype(np.float32)
