"""Calibration: what the evidence for an answer is worth, fitted on answers that are known to be right or wrong.

Knows numbers alone: neither pictures nor how the evidence was gathered. Kept in the checkpoint's ``vlm_demo.json``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from vlm_demo.errors import UnsupportedModel, VlmDemoError
from vlm_demo.explain.heatmap import SETTINGS_FILE

THRESHOLDS = (1 / 3, 2 / 3)  # called not visible: less than one in three right; grounded: at least two in three


@dataclass(frozen=True)
class Evidence:
    """What speaks for an answer, each 0..1.

    Attributes:
        hot: how much of the probability of an average token falls away when the hottest patches of the default map are
            hidden behind a blur.
        elsewhere: the same with as many other patches, drawn by chance.
        whole: the same with the whole picture.
        certain: the probability of an average token (geometric mean).
        share: how much of the attention rested on the pictures; 0 where that can't be told.
        match: how well the answer fits the picture, by the model's part that compares the two; 0 where it has none.
        read: how many of the answer's words stand in the text that was read off the picture (OCR).
    """

    hot: float
    elsewhere: float
    whole: float
    certain: float
    share: float = 0.0
    match: float = 0.0
    read: float = 0.0


NAMES = tuple(own.name for own in fields(Evidence))


def as_row(found: Evidence) -> np.ndarray:
    """float [fields of Evidence]."""
    return np.array([getattr(found, name) for name in NAMES])


@dataclass(frozen=True)
class Calibration:
    """What the evidence is worth: P(right, and visible) = 1 / (1 + exp(-(weights · evidence + bias))).

    Attributes:
        weights: of each field of ``Evidence``, in order.
        bias: of the sum.
        thresholds: below the first an answer is not visible, from the second on it is grounded.
        fitted: on how many answers.
    """

    weights: tuple[float, ...]
    bias: float
    thresholds: tuple[float, float] = THRESHOLDS
    fitted: int = 0

    def score(self, evidence: np.ndarray) -> np.ndarray:
        """float [n, fields of Evidence] → probabilities [n]."""
        return 1 / (1 + np.exp(-(evidence @ np.array(self.weights) + self.bias)))


def read_calibration(folder: Path) -> Calibration | None:
    """The ``grounding`` part of the checkpoint's ``vlm_demo.json``; None where there is none.

    Raises:
        UnsupportedModel: it is there and cannot be understood.
    """
    file = folder / SETTINGS_FILE
    if not file.is_file():
        return None
    try:
        told = json.loads(file.read_text(encoding="utf-8")).get("grounding")
        if told is None:
            return None
        low, high = told["thresholds"]
        weights = tuple(float(told["weights"].get(name, 0.0)) for name in NAMES)
        return Calibration(weights, float(told["bias"]), (float(low), float(high)), int(told["fitted"]))
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise UnsupportedModel(f"The grounding in {file.name} of this checkpoint cannot be read: mend it.") from error


def write_calibration(folder: Path, calibration: Calibration) -> Path:
    """Put it into the checkpoint's ``vlm_demo.json``; what else that holds stays. Returns the file."""
    file = folder / SETTINGS_FILE
    held = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    told: dict[str, Any] = {
        "weights": dict(zip(NAMES, calibration.weights, strict=True)),
        "bias": calibration.bias,
        "thresholds": list(calibration.thresholds),
        "fitted": calibration.fitted,
    }
    file.write_text(json.dumps(held | {"grounding": told}, indent=1) + "\n", encoding="utf-8")
    return file


def fit(evidence: np.ndarray, labels: np.ndarray, ridge: float = 0.1, rounds: int = 50) -> Calibration:
    """Logistic regression by Newton's method.

    Args:
        evidence: float [n, fields of Evidence].
        labels: bool [n], True = the answer is right, and what it says can be seen.
        ridge: how strongly weights are held near 0, in units of one answer.
    Raises:
        VlmDemoError: all labels are the same, so there is nothing to tell apart.
    """
    if len(set(labels.tolist())) < 2:
        raise VlmDemoError("All answers are right, or all are wrong: fit on a folder that has both.")
    inputs = np.column_stack([evidence, np.ones(len(evidence))])
    penalty = np.diag([ridge] * evidence.shape[1] + [1e-6])
    weights = np.zeros(inputs.shape[1])
    for _ in range(rounds):
        chance = 1 / (1 + np.exp(-(inputs @ weights)))
        slope = inputs.T @ (labels - chance) - penalty @ weights
        bend = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + penalty
        step = np.linalg.solve(bend, slope)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return Calibration(tuple(weights[:-1].tolist()), float(weights[-1]), fitted=len(labels))
