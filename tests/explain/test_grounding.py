"""Grounding: planted evidence, the fit against an independent optimiser, and what is kept beside the weights."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.test_answer import answer
from vlm_demo import Pipeline
from vlm_demo.errors import UnsupportedModel, VlmDemoError
from vlm_demo.explain import calibration, grounding
from vlm_demo.explain.calibration import NAMES, Calibration, Evidence

SURE = Evidence(hot=0.9, elsewhere=0.05, whole=0.95, certain=0.9, share=0.4)
BLIND = Evidence(hot=0.02, elsewhere=0.02, whole=0.03, certain=0.4, share=0.1)


class Planted:
    """A model whose answer loses 2 nats with ``patch``, and nothing with any other."""

    judge = None

    def __init__(self, patch: int) -> None:
        self.patch = patch

    def likelihoods(self, said: object, image: int, masks: np.ndarray) -> np.ndarray:
        self.masks, self.image = masks, image
        own = np.log([[token.probability for token in said.tokens]])
        return own - 2.0 * masks[:, [self.patch]]


def test_hiding_what_was_looked_at_takes_the_answer_away() -> None:
    said = answer("circle")  # whose step looks at patch 0
    model = Planted(0)
    found = grounding.gather(said, model)
    assert found.hot == pytest.approx(1 - np.exp(-2)) == found.whole and found.elsewhere == 0
    assert found.certain == pytest.approx(0.5) and found.share > 0.4
    hot, elsewhere, whole = model.masks
    assert hot.nonzero()[0].tolist()[:1] == [0] and hot.sum() == elsewhere.sum() and not (hot & elsewhere).any()
    assert whole.all()
    blind = grounding.gather(said, Planted(15))
    assert blind.hot == 0 and blind.whole > 0.8


def test_of_several_pictures_the_one_that_was_looked_at_most_is_tried() -> None:
    said = answer("circle", pictures=2)
    said.trace.image[..., :16] *= 0.1
    model = Planted(15)
    assert grounding.gather(said, model).hot > 0.8 and model.image == 1


def test_an_answer_that_says_unknown_is_not_visible_and_costs_nothing() -> None:
    told = grounding.judge(answer("Unknown", "."), None, None)
    assert told.level == "not visible" and told.score == 0 and told.drop is None


def test_without_attention_nothing_can_be_said() -> None:
    with pytest.raises(VlmDemoError, match="No attention"):
        grounding.judge(answer("a", trace=False), None, None)


def test_uncalibrated_the_score_is_what_falls_away() -> None:
    assert grounding.badge(SURE, None).level == "grounded" and grounding.badge(BLIND, None).level == "not visible"
    told = grounding.badge(replace(BLIND, whole=0.5), None)
    assert told.level == "weak" and told.score == 0.5 and "not measured" in told.sentence
    assert grounding.badge(SURE, None, share_known=False).share is None and told.match is None or told.match == 0


def test_calibrated_the_score_is_the_fitted_probability() -> None:
    weights = tuple(4.0 if name == "whole" else 0.0 for name in NAMES)
    told = grounding.badge(SURE, Calibration(weights, -2.0, (0.2, 0.85), 100))
    assert told.score == pytest.approx(1 / (1 + np.exp(-1.8))) and told.level == "grounded"
    assert "about 86% were right" in told.sentence and "90% of the answer's probability" in told.sentence


def test_the_fit_is_logistic_regressions() -> None:
    rng = np.random.default_rng(0)
    evidence = rng.random((200, len(NAMES)))
    labels = rng.random(200) < 1 / (1 + np.exp(-(6 * evidence[:, 0] - 3)))
    fitted = calibration.fit(evidence, labels, ridge=1.0)
    weights = torch.zeros(len(NAMES) + 1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")
    inputs, wanted = torch.tensor(evidence), torch.tensor(labels, dtype=torch.float64)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = inputs @ weights[:-1] + weights[-1]
        told = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        told = told + 0.5 * weights[:-1].square().sum()
        told.backward()
        return told

    optimiser.step(loss)
    assert [*fitted.weights, fitted.bias] == pytest.approx(weights.tolist(), abs=1e-3)
    assert fitted.weights[0] > 2 and fitted.fitted == 200
    with pytest.raises(VlmDemoError, match="both"):
        calibration.fit(evidence, np.ones(200, bool))


def test_a_calibration_is_kept_beside_what_else_the_file_holds(tmp_path: Path) -> None:
    assert calibration.read_calibration(tmp_path) is None
    (tmp_path / "vlm_demo.json").write_text('{"heatmap": {"method": "last"}}')
    assert calibration.read_calibration(tmp_path) is None
    kept = Calibration(tuple(float(i) for i in range(len(NAMES))), 0.5, (0.3, 0.7), 12)
    calibration.write_calibration(tmp_path, kept)
    assert calibration.read_calibration(tmp_path) == kept
    assert json.loads((tmp_path / "vlm_demo.json").read_text())["heatmap"] == {"method": "last"}
    (tmp_path / "vlm_demo.json").write_text('{"grounding": {"bias": 1}}')
    with pytest.raises(UnsupportedModel, match="mend it"):
        calibration.read_calibration(tmp_path)


def test_the_pipelines_badge(pipe: Pipeline, noise) -> None:
    said = pipe.ask(noise(80, 60), "How many circles are there?", max_new_tokens=4)
    told = pipe.grounding(said)
    assert told.level in grounding.LEVELS and 0 <= told.score <= 1 and told.match is None
    found = pipe.evidence(said)
    assert found.share == pytest.approx(told.share) and told.drop == found.hot and 0 <= found.whole <= 1
