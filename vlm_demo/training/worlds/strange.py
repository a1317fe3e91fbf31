"""Strange: pictures with the statistics of photographs and none of this world's things.

Natural pictures have a power spectrum that falls with the square of the frequency (Field 1987) and consist of textured
surfaces that hide one another (the dead leaves of Lee, Mumford & Huang 2001); encoders that learn from such pictures
transfer to photographs (Baradad et al. 2021, https://arxiv.org/abs/2106.05963). Here they stand for all that the
embedded models were never taught.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def draw_strange(rng: np.random.Generator) -> Image.Image:
    """One picture of textures, surfaces and shading."""
    width, height = (int(n) for n in rng.integers(150, 420, 2))
    base = _noise(rng, width, height, float(rng.uniform(0.7, 1.6)))
    for _ in range(int(rng.integers(0, 3))):
        other = _noise(rng, width, height, float(rng.uniform(0.5, 1.6)))
        base = np.where(_leaves(rng, width, height)[..., None], base, other)
    if rng.random() < 0.5:  # light from one side, or a darker rim
        across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
        tilt, rim = rng.uniform(-0.4, 0.4, 2), float(rng.uniform(0, 0.4))
        base = base * (1 + tilt[0] * across + tilt[1] * down - rim * (across**2 + down**2))[..., None]
    image = Image.fromarray(np.clip(base, 0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.5))))


def _noise(rng: np.random.Generator, width: int, height: int, slope: float) -> np.ndarray:
    """float [height, width, 3]: noise of an amplitude that falls as 1 / frequency ** slope, in muted colours."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    layers = []
    for _ in range(3):
        spectrum = np.fft.rfft2(rng.normal(size=(height, width))) / frequency**slope
        spectrum[0, 0] = 0
        layer = np.fft.irfft2(spectrum, s=(height, width))
        layers.append(layer / max(layer.std(), 1e-9))
    colours = rng.normal(size=(3, 3)) * (1.0, 0.35, 0.2)[:3]
    mixed = np.tensordot(np.stack(layers, -1), colours + (1, 0, 0), axes=([2], [1]))
    level, contrast = rng.uniform(60, 190, 3) * 0.35 + rng.uniform(60, 190) * 0.65, rng.uniform(12, 55)
    return level + contrast * mixed


def _leaves(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """bool [height, width]: a mask of many overlapping blobs whose sizes follow a power law."""
    mask = Image.new("1", (width, height))
    draw = ImageDraw.Draw(mask)
    for _ in range(int(rng.integers(5, 120))):
        radius = min(width, height) * 0.03 / (1 - float(rng.uniform(0, 0.96)))
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 14))))
        reach = radius * rng.uniform(0.4, 1, len(angles))
        points = [(float(x + r * np.cos(a)), float(y + r * np.sin(a))) for a, r in zip(angles, reach, strict=True)]
        draw.polygon(points, fill=bool(rng.random() < 0.5))
    return np.asarray(mask)
