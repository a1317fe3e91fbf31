"""Tones: grey or colour values of more than 8 bits → 8 bits, by a range that a few stray values can't spoil.

Files of 16 bits, integers and floats rarely say what is black and what is white in them, so it is read off the values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

MOST_SAMPLES = 2_000_000
BEYOND = 1e20  # no picture's value; what is beyond stands for "no data"
# What else stands for "no data" where a file doesn't say, if it lies far below all other values.
NO_DATA = (-99999.0, -9999.0, -32768.0, -32767.0, -2147483648.0)
FAR = 3  # a tail so many times as long as the middle of the values is stray


@dataclass(frozen=True)
class Tones:
    """A scale of values.

    Attributes:
        low, high: what is shown black and white.
        inverted: the other way round.
        no_data: the value that stands for none; shown black, as those that are not finite.
        note: a sentence for the person; empty = none.
    """

    low: float
    high: float
    inverted: bool = False
    no_data: float | None = None
    note: str = ""

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values of any shape → uint8 of the same."""
        values = values.astype(np.float32)
        valid = _valid(values, self.no_data)
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = ((values - self.low) / max(self.high - self.low, 1e-12)).clip(0, 1)
        shown = np.where(valid, 1 - scaled if self.inverted else scaled, 0)
        return (shown * 255).round().astype(np.uint8)


def measure(
    parts: Iterable[np.ndarray], size: int, *, whole: bool, inverted: bool = False, no_data: float | None = None
) -> Tones:
    """Find the scale of a picture.

    Args:
        parts: its values, part by part.
        size: how many there are in all.
        whole: they are whole numbers, of which the usual ranges are 8, 10, 12, 14 or 16 bits.
        inverted: the file says that its lowest value is white.
        no_data: the value that the file says stands for none.
    """
    step = max(1, math.ceil(size / MOST_SAMPLES))
    samples, least, most, missing = [], math.inf, -math.inf, False
    for part in parts:
        values = part.reshape(-1).astype(np.float32)
        valid = _valid(values, no_data)
        missing = missing or not valid.all()
        values = values[valid]
        if values.size:
            least, most = min(least, float(values.min())), max(most, float(values.max()))
            samples.append(values[::step])
    if not samples:
        return Tones(0, 1, no_data=no_data, note="The picture holds no values that could be shown.")
    found = np.concatenate(samples)
    if least in NO_DATA and (rest := found[found > least]).size and rest.min() - least > np.ptp(rest):
        no_data, missing, found, least = least, True, rest, float(rest.min())
    low, high = _range(found, whole)
    usual = low == 0 and high in ((255, 65535) if whole else (1, 255))
    outside = least < low or most > high
    if usual and not (outside or inverted or missing):
        return Tones(low, high)
    black, white = (high, low) if inverted else (low, high)
    note = f"The picture's values were put on a scale from {black:g} (black) to {white:g} (white)"
    note += "; places without a value are black." if missing else "."
    return Tones(low, high, inverted, no_data, note)


def _valid(values: np.ndarray, no_data: float | None) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        valid = np.abs(values) < BEYOND  # False for nan too
    return valid if no_data is None else valid & (values != np.float32(no_data))


def _range(samples: np.ndarray, whole: bool) -> tuple[float, float]:
    """(low, high) of samples, without their stray ones."""
    bottom, lower = (float(value) for value in np.percentile(samples, (0.1, 0.5), method="lower"))
    upper, top = (float(value) for value in np.percentile(samples, (99.5, 99.9), method="higher"))
    middle = upper - lower
    if middle > 0:
        low = lower if lower - bottom > FAR * middle else bottom
        high = upper if top - upper > FAR * middle else top
    else:
        low, high = bottom, top
    if whole and low >= 0 and high <= 65535:
        full = 2.0 ** max(8, math.ceil(math.log2(high + 1))) - 1
        narrow = 16 <= high - low < full / 8
        return (low, high) if narrow else (0.0, full)
    if not whole:
        for full in (1.0, 255.0, 65535.0):
            if low >= -full / 100 and full / 4 < high <= full * 1.01:
                return 0.0, full
    if high == low:
        return (0.0, high) if high > 0 else (low, low + 1)
    return (0.0, high) if 0 <= low < high / 2 else (low, high)
