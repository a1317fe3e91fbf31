"""Fit calibration: answers that are known to be right or wrong → the weights of the evidence for such answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlm_demo.checks.calibration import LEAST, MOST, Calibration, Limits
from vlm_demo.contracts.grounding import Evidence
from vlm_demo.errors import VlmDemoError

BY_CHANCE = 0.75  # the share of answers in which hiding something drawn by chance takes less than the limit
MOVED = 0.05  # the share of right answers in which a blank picture may change less than the limit
MOST_NOTHING = 0.05  # a change that large is never nothing
FEW = 10  # answers on which no limit is fitted


def fit(evidence: np.ndarray, labels: np.ndarray, ridge: float = 0.1, rounds: int = 50) -> Calibration:
    """Logistic regression by Newton's method.

    Args:
        evidence: float [n, NAMES].
        labels: bool [n], True = the answer is right, and can be seen in the picture.
        ridge: the L2 penalty on the weights, in units of one answer.
    Raises:
        VlmDemoError: all labels are the same, so there is nothing to fit.
    """
    if len(set(labels.tolist())) < 2:
        raise VlmDemoError("All answers are right, or all are wrong: fit on a folder that has both.")
    inputs = np.column_stack([evidence, np.ones(len(evidence))])
    penalty = np.diag([ridge] * evidence.shape[1] + [1e-6])
    weights = np.zeros(inputs.shape[1])
    for _ in range(rounds):
        probability = 1 / (1 + np.exp(-(inputs @ weights)))
        gradient = inputs.T @ (labels - probability) - penalty @ weights
        hessian = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + penalty
        step = np.linalg.solve(hessian, gradient)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return Calibration(tuple(weights[:-1].tolist()), float(weights[-1]), fitted=len(labels))


def fit_limits(found: Sequence[Evidence], right: Sequence[bool]) -> Limits:
    """How much of the evidence a badge needs.

    The drop must be larger than that from hiding something drawn by chance in ``BY_CHANCE`` of the answers: other
    patches for the picture, other words for the text. A picture counts for nothing where a blank one changes less than
    in all but ``MOVED`` of the right answers. A limit stays as in ``Limits()`` with at most ``FEW`` answers to fit on.

    Args:
        found: of every answer.
        right: whether it is right, and can be seen in the picture.
    """
    default = Limits()
    text_drops = [evidence.other for evidence in found if evidence.text or evidence.other]
    blank_changes = [evidence.blank for evidence, is_right in zip(found, right, strict=True) if is_right]
    return Limits(
        picture=_limit([evidence.elsewhere for evidence in found], BY_CHANCE, default.picture),
        text=_limit(text_drops, BY_CHANCE, default.text),
        nothing=min(_limit(blank_changes, MOVED, default.nothing), MOST_NOTHING),
        read=len(text_drops) if len(text_drops) > FEW else 0,
    )


def _limit(values: Sequence[float], share: float, default: float) -> float:
    """The value that ``share`` of the values stay below, within ``LEAST`` and ``MOST``; the default for few values."""
    return float(np.clip(np.quantile(values, share), LEAST, MOST)) if len(values) > FEW else default
