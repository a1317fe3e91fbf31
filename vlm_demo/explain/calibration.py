"""Calibration: what the evidence for an answer is worth, fitted on answers that are known to be right or wrong.

Knows numbers alone: neither pictures nor how the evidence was gathered. Kept in the checkpoint's ``vlm_demo.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vlm_demo.contracts.grounding import Evidence
from vlm_demo.errors import UnsupportedModel, VlmDemoError
from vlm_demo.explain.heatmap import SETTINGS_FILE

THRESHOLDS = (1 / 3, 2 / 3)  # rests on it: at least two in three right; the first tells apart nothing any more
BY_CHANCE = 0.9  # the share of answers in which hiding something drawn by chance takes less than the limit
MOVED = 0.05  # the share of right answers in which a blank picture may change less than the limit
LEAST, MOST = 0.01, 0.5  # of the probability: what a limit may be
MOST_NOTHING = 0.05  # a change that large is never nothing
SUREST = 1e-3  # a probability nearer to 0 or 1 counts as this near
FEW = 10  # answers on which no limit is fitted


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
    file = folder / SETTINGS_FILE
    if not file.is_file():
        return None
    try:
        told = json.loads(file.read_text(encoding="utf-8")).get("grounding")
        if told is None:
            return None
        low, high = told["thresholds"]
        weights = tuple(float(told["weights"].get(name, 0.0)) for name in NAMES)
        held = Limits(**told.get("limits", {}))
        picture, text, nothing = (max(LEAST, float(own)) for own in (held.picture, held.text, held.nothing))
        limits = Limits(picture, text, nothing, int(held.read))
        return Calibration(weights, float(told["bias"]), (float(low), float(high)), int(told["fitted"]), limits)
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
        "limits": asdict(calibration.limits),
    }
    file.write_text(json.dumps(held | {"grounding": told}, indent=1) + "\n", encoding="utf-8")
    return file


def fit(evidence: np.ndarray, labels: np.ndarray, ridge: float = 0.1, rounds: int = 50) -> Calibration:
    """Logistic regression by Newton's method.

    Args:
        evidence: float [n, NAMES].
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


def fit_limits(found: Sequence[Evidence], right: Sequence[bool]) -> Limits:
    """How much of the evidence a badge needs.

    What falls away must be more than hiding something drawn by chance takes in ``BY_CHANCE`` of the answers: other
    patches for the picture, other words for the text. A picture counts for nothing where a blank one changes less than
    in all but ``MOVED`` of the right answers. A limit stays as in ``Limits()`` where only ``FEW`` tell of it.

    Args:
        found: of every answer.
        right: whether it is right, and what it says can be seen.
    """
    usual = Limits()
    tried = [own.other for own in found if own.text or own.other]
    moved = [own.blank for own, good in zip(found, right, strict=True) if good]
    return Limits(
        picture=_at([own.elsewhere for own in found], BY_CHANCE, usual.picture),
        text=_at(tried, BY_CHANCE, usual.text),
        nothing=min(_at(moved, MOVED, usual.nothing), MOST_NOTHING),
        read=len(tried) if len(tried) > FEW else 0,
    )


def _at(values: Sequence[float], share: float, usual: float) -> float:
    """The value that ``share`` of the values stay below, within ``LEAST`` and ``MOST``; the usual one of few values."""
    return float(np.clip(np.quantile(values, share), LEAST, MOST)) if len(values) > FEW else usual
