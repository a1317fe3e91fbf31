"""Calibration: what the evidence for an answer is worth, fitted on answers that are known to be right or wrong.

Knows numbers alone: neither pictures nor how the evidence was gathered. Kept in the checkpoint's ``vlm_demo.json``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vlm_demo.contracts.checkpoint_settings import read_part, write_part
from vlm_demo.contracts.grounding import Evidence

THRESHOLDS = (1 / 3, 2 / 3)  # rests on it: at least two in three right; the first tells apart nothing any more
LEAST, MOST = 0.01, 0.5  # of the probability: what a limit may be
SUREST = 1e-3  # a probability nearer to 0 or 1 counts as this near

NAMES = ("hot", "elsewhere", "whole", "certain", "share", "match", "read", "text", "yes_no", "number")


@dataclass(frozen=True)
class Limits:
    """From where on evidence counts, each ``LEAST``..``MOST``, the same unit as the evidence's.

    Attributes:
        picture: an answer rests on the picture only if at least so much falls away with the hottest patches (``hot``).
        text: and on text that was read only if at least so much falls away with its words (``text``).
        nothing: up to so much of a change (``blank``) the picture counts for nothing.
        read: on how many answers that repeat words of the text ``text`` was fitted; 0 = it was not.
    """

    picture: float = 0.1
    text: float = 0.1
    nothing: float = 0.02
    read: int = 0


def as_row(found: Evidence) -> np.ndarray:
    """float [NAMES]; ``certain`` as its log-odds, for how often an answer is right grows with these."""
    row = np.array([getattr(found, name) for name in NAMES], float)
    certain = np.clip(found.certain, SUREST, 1 - SUREST)
    row[NAMES.index("certain")] = np.log(certain / (1 - certain))
    return row


@dataclass(frozen=True)
class Calibration:
    """What the evidence is worth: P(right, and visible) = 1 / (1 + exp(-(weights · evidence + bias))).

    Attributes:
        weights: of each of ``NAMES``, in order.
        bias: of the sum.
        thresholds: from the second on an answer may be called grounded; the first is kept for those who read it.
        fitted: on how many answers.
        limits: how much of the evidence itself a badge needs; those of ``Limits()`` in files that know of none.
    """

    weights: tuple[float, ...]
    bias: float
    thresholds: tuple[float, float] = THRESHOLDS
    fitted: int = 0
    limits: Limits = field(default_factory=Limits)

    def score(self, evidence: np.ndarray) -> np.ndarray:
        """float [n, NAMES] → probabilities [n]."""
        return 1 / (1 + np.exp(-(evidence @ np.array(self.weights) + self.bias)))


def read_calibration(folder: Path) -> Calibration | None:
    """The ``grounding`` part of the checkpoint's ``vlm_demo.json``; None where there is none.

    Raises:
        UnsupportedModel: it is there and cannot be understood.
    """
    return read_part(folder, "grounding", _calibration)


def _calibration(part: dict[str, Any]) -> Calibration:
    low, high = part["thresholds"]
    weights = tuple(float(part["weights"].get(name, 0.0)) for name in NAMES)
    given = Limits(**part.get("limits", {}))
    picture, text, nothing = (max(LEAST, float(limit)) for limit in (given.picture, given.text, given.nothing))
    limits = Limits(picture, text, nothing, int(given.read))
    return Calibration(weights, float(part["bias"]), (float(low), float(high)), int(part["fitted"]), limits)


def write_calibration(folder: Path, calibration: Calibration) -> Path:
    """Put it into the checkpoint's ``vlm_demo.json``; what else that holds stays. Returns the file."""
    part: dict[str, Any] = {
        "weights": dict(zip(NAMES, calibration.weights, strict=True)),
        "bias": calibration.bias,
        "thresholds": list(calibration.thresholds),
        "fitted": calibration.fitted,
        "limits": asdict(calibration.limits),
    }
    return write_part(folder, "grounding", part)
