"""Fit calibration: answers that are known to be right or wrong → what the evidence for such answers is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlm_demo.checks.calibration import LEAST, MOST, Calibration, Limits
from vlm_demo.contracts.grounding import Evidence
from vlm_demo.errors import VlmDemoError

BY_CHANCE = 0.9  # the share of answers in which hiding something drawn by chance takes less than the limit
MOVED = 0.05  # the share of right answers in which a blank picture may change less than the limit
MOST_NOTHING = 0.05  # a change that large is never nothing
FEW = 10  # answers on which no limit is fitted


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
    tried = [evidence.other for evidence in found if evidence.text or evidence.other]
    moved = [evidence.blank for evidence, good in zip(found, right, strict=True) if good]
    return Limits(
        picture=_at([evidence.elsewhere for evidence in found], BY_CHANCE, usual.picture),
        text=_at(tried, BY_CHANCE, usual.text),
        nothing=min(_at(moved, MOVED, usual.nothing), MOST_NOTHING),
        read=len(tried) if len(tried) > FEW else 0,
    )


def _at(values: Sequence[float], share: float, usual: float) -> float:
    """The value that ``share`` of the values stay below, within ``LEAST`` and ``MOST``; the usual one of few values."""
    return float(np.clip(np.quantile(values, share), LEAST, MOST)) if len(values) > FEW else usual
