"""Intervals: a count of right answers → how far the true share may lie from it. Knows neither models nor answers."""

from __future__ import annotations

import math

Z95 = 1.959963984540054  # the normal distribution's 97.5 % quantile


def wilson(right: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion, as fractions.

    Wilson 1927 (https://doi.org/10.1080/01621459.1927.10502953). Unlike the textbook p ± 1.96·SE it stays inside
    0..1 and is honest at 0 %, at 100 % and for few items. ``n`` must be at least 1. ``right`` may be a sum of fractions
    0..1: of all such scores with a mean of p, none scatter wider than zeros and ones, so the interval is wide enough.
    """
    p, z2 = right / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # At the ends the formula gives 0 and 1 but for rounding.
    return (0.0 if right == 0 else centre - half), (1.0 if right == n else centre + half)
