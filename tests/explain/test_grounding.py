"""Grounding: planted evidence, the fit against an independent optimiser, and what is stored with the weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.kit.planted_answer import answer
from vlm_demo import Pipeline
from vlm_demo.checks import calibration, grounding_badge
from vlm_demo.checks.calibration import NAMES, Calibration, Limits
from vlm_demo.contracts import Answer, Evidence, OcrResult, OcrWord
from vlm_demo.contracts.grounding import GREEN, LEVELS
from vlm_demo.errors import UnsupportedModel, VlmDemoError
from vlm_demo.evaluation import fit_calibration
from vlm_demo.explain import grounding
from vlm_demo.explain.answer_passes import AnswerLikelihoods

SURE = Evidence(hot=0.9, elsewhere=0.05, whole=0.95, certain=0.9, share=0.4)
BLIND = Evidence(hot=0.02, elsewhere=0.02, whole=0.03, certain=0.4, share=0.1)
SAME = Evidence(hot=0.0, elsewhere=0.0, whole=0.0, certain=0.9, blank=0.001)
READ = Evidence(hot=0.0, elsewhere=0.0, whole=0.0, certain=0.9, read=1.0, text=0.8, other=0.01)


class Planted:
    """A model whose answer loses 2 nats with ``patch``, ``picture`` nats with a blank picture, ``text`` nats where the
    word "12.50" is missing in the text that was read, and nothing else."""

    image_text_matcher = None

    def __init__(self, patch: int, picture: float = 2.0, text: float = 0.0) -> None:
        self.patch, self.picture, self.text = patch, picture, text
        self.asked: list[tuple[list[str], bool]] = []

    def with_hidden_patches(self, given: object, image: int, masks: np.ndarray) -> AnswerLikelihoods:
        self.masks, self.image = masks, image
        return self._likelihoods(given, 2.0 * masks[:, [self.patch]])

    def with_other_text(self, given: object, ocrs: Any, blank: bool = False) -> AnswerLikelihoods:
        self.asked.append(([result.text for result in ocrs], blank))
        gone = bool(given.ocrs) and not any("12.50" in result.text for result in ocrs)
        return self._likelihoods(given, np.array([[self.picture * blank + self.text * gone]]))

    @staticmethod
    def _likelihoods(given: object, lost: np.ndarray) -> AnswerLikelihoods:
        logprobs = np.log([[token.probability for token in given.tokens]]) - lost
        return AnswerLikelihoods(logprobs, np.exp(logprobs) > 0.3)


def unmoved(model: Planted) -> Planted:
    """The same, but that nothing is lost behind a blur."""
    model.with_hidden_patches = lambda given, image, masks: Planted._likelihoods(given, np.zeros((len(masks), 1)))
    return model


def with_text(given: Answer, text: str) -> Answer:
    words = tuple(OcrWord(word, (0, 0, 9, 9), 90.0) for word in text.split())
    return replace(given, ocrs=(OcrResult(text, words, 0.1),))


def surely(*texts: str) -> Answer:
    """An answer whose tokens have a probability of 0.9."""
    given = answer(*texts)
    return replace(given, tokens=tuple(replace(token, probability=0.9) for token in given.tokens))


def test_hiding_what_was_attended_to_lowers_the_answers_probability() -> None:
    given = answer("circle")  # whose step looks at patch 0
    model = Planted(0)
    found = grounding.gather(given, model)
    assert found.hot == pytest.approx(1 - np.exp(-2)) == found.whole and found.elsewhere == 0
    assert found.certain == pytest.approx(0.5) and found.share > 0.4
    hot, elsewhere, whole = model.masks
    assert hot.nonzero()[0].tolist()[:1] == [0] and hot.sum() == elsewhere.sum() and not (hot & elsewhere).any()
    assert whole.all()
    blind = grounding.gather(given, Planted(15))
    assert blind.hot == 0 and blind.whole > 0.8


def test_of_several_pictures_the_one_that_was_looked_at_most_is_tried() -> None:
    given = answer("circle", pictures=2)
    given.trace.image[..., :16] *= 0.1
    model = Planted(15)
    assert grounding.gather(given, model).hot > 0.8 and model.image == 1


def test_an_answer_that_says_unknown_is_not_visible_and_costs_nothing() -> None:
    badge = grounding.judge(answer("Unknown", "."), None, None)
    assert badge.level == "not visible" and badge.score == 0 and badge.drop is None


def test_without_attention_there_is_no_badge() -> None:
    with pytest.raises(VlmDemoError, match="No attention"):
        grounding.judge(answer("a", trace=False), None, None)


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("Unknown.", True),
        ("It is unclear", True),
        ("I can’t read the number.", True),
        ("It cannot be seen in the picture.", True),
        ("no", False),
        ("unknown flower", False),
        ("a red circle", False),
    ],
)
def test_only_what_says_nothing_says_unknown(text: str, unknown: bool) -> None:
    assert grounding_badge.says_unknown(text) == unknown


def test_the_picture_gets_no_credit_for_what_stays_without_it() -> None:
    """However sure the score is of the answer."""
    sure = Calibration((0.0,) * len(NAMES), 5.0)
    blind = replace(SURE, hot=0.0, whole=0.02)
    for found in (blind, replace(blind, hot=0.05), replace(blind, read=1.0, text=0.05)):
        assert grounding_badge.badge(found, sure).level == "weak"
    assert grounding_badge.badge(replace(blind, turned=True), sure).level == "grounded"
    # what fills the picture is not hidden with its hottest patches
    assert grounding_badge.badge(replace(SURE, hot=0.0), sure).level == "grounded"
    assert grounding_badge.badge(SURE, sure).level == "grounded"
    assert grounding_badge.badge(SURE, Calibration((0.0,) * len(NAMES), -5.0)).level == "weak"
    none = Limits(picture=0.0, text=0.0)
    assert grounding_badge.badge(replace(SURE, hot=0.0, whole=0.0), replace(sure, limits=none)).level == "weak"
    little = replace(SURE, hot=0.3, whole=0.3)
    assert grounding_badge.badge(little, replace(sure, limits=Limits(picture=0.4))).level == "weak"


def test_words_that_were_read_are_what_an_answer_rests_on_if_it_falls_without_them() -> None:
    given = with_text(answer("12.50"), "TOTAL 12.50\nCASH 12.50")
    model = Planted(15, picture=0.0, text=2.0)
    found = grounding.gather(given, model)
    assert found.text == pytest.approx(1 - np.exp(-2)) and found.other == 0 and found.read == 1
    assert [asked for asked in model.asked] == [([], True), (["TOTAL\nCASH"], False), (["12.50\n12.50"], False)]
    badge = grounding.judge(given, model, None)
    assert badge.level == "read" and badge.quote == "12.50" and badge.text_drop == found.text
    assert [(word.image, word.word.text) for word in badge.words] == [(0, "12.50"), (0, "12.50")]
    assert badge.sentence.startswith("The text that was read says “12.50”: without these words 86%")
    # the same words, and a model that reads the picture itself: they carry nothing
    badge = grounding.judge(given, Planted(0, text=0.0), None)
    assert badge.level == "grounded" and badge.text_drop == 0 and "without these words 0%" in badge.sentence
    # neither
    assert grounding.judge(given, unmoved(Planted(15, picture=0.0)), None).level not in GREEN


def test_of_two_things_that_carry_an_answer_the_one_that_carries_more_is_named() -> None:
    both = replace(READ, hot=0.7, whole=0.9)
    assert grounding_badge.badge(both, None).level == "read"
    assert grounding_badge.badge(replace(both, hot=0.9), None).level == "grounded"


def test_what_stays_the_same_without_any_picture_is_not_about_it() -> None:
    given = surely("Hello", " there")
    badge = grounding.judge(given, Planted(8, picture=0.0), None)
    assert badge.level == "grounded"  # a blur over all of it takes something
    badge = grounding.judge(given, unmoved(Planted(0, picture=0.0)), None)
    assert badge.level == "not about the picture" and badge.sentence.startswith("With a blank picture")
    likelier = unmoved(Planted(0, picture=-0.1))  # a blank picture matters, though it makes the answer likelier
    assert grounding.judge(given, likelier, None).level == "weak"
    # a quotation that carries the answer is evidence, and so is text that it does not repeat
    assert grounding.judge(with_text(given, "TOTAL 12.50"), unmoved(Planted(15, 0.0, 1.0)), None).level == "weak"
    assert grounding_badge.badge(replace(SAME, blank_turned=True), None).level == "weak"


def test_a_no_is_judged_by_the_evidence_and_a_blank_picture_is_no_test_of_it() -> None:
    assert [grounding_badge.says_none(answer(text)) for text in ("No.", "There is no dog", "none", "north", "yes")] == (
        [True, True, True, False, False]
    )
    assert grounding_badge.badge(SURE, None, none=True).level == "grounded"
    badge = grounding_badge.badge(SAME, None, none=True)
    assert badge.level == "weak" and "holds none of anything" in badge.sentence


def test_a_token_that_turns_is_a_change_however_little_the_whole_falls() -> None:
    given = surely("a", " red", " circle", " on", " a", " wooden", " table")
    found = grounding.gather(given, Planted(1))
    assert found.turned and found.blank_turned and not found.text_turned
    assert not grounding.gather(answer("circle"), Planted(0)).turned  # whether it was the likeliest is not known


def test_uncalibrated_the_score_is_what_falls_away() -> None:
    assert grounding_badge.badge(SURE, None).level == "grounded" and grounding_badge.badge(BLIND, None).level == "weak"
    badge = grounding_badge.badge(replace(BLIND, whole=0.5), None)
    assert badge.level == "weak" and badge.score == 0.5 and "not measured" in badge.sentence
    assert (
        grounding_badge.badge(READ, None).level == "read"
        and grounding_badge.badge(SAME, None).level == "not about the picture"
    )
    known, unknown = (grounding_badge.badge(SURE, None, share_known=k, match_known=k) for k in (True, False))
    assert (known.share, known.match) == (SURE.share, SURE.match) and (unknown.share, unknown.match) == (None, None)


def test_calibrated_the_score_is_the_fitted_probability() -> None:
    weights = tuple(4.0 if name == "whole" else 0.0 for name in NAMES)
    badge = grounding_badge.badge(SURE, Calibration(weights, -2.0, (0.2, 0.85), 100))
    assert badge.score == pytest.approx(1 / (1 + np.exp(-1.8))) and badge.level == "grounded"
    assert "about 86% were right" in badge.sentence and "90% of the answer's probability" in badge.sentence


def test_the_fit_is_logistic_regressions() -> None:
    rng = np.random.default_rng(0)
    evidence = rng.random((200, len(NAMES)))
    labels = rng.random(200) < 1 / (1 + np.exp(-(6 * evidence[:, 0] - 3)))
    fitted = fit_calibration.fit(evidence, labels, ridge=1.0)
    weights = torch.zeros(len(NAMES) + 1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")
    inputs, wanted = torch.tensor(evidence), torch.tensor(labels, dtype=torch.float64)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = inputs @ weights[:-1] + weights[-1]
        total = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        total = total + 0.5 * weights[:-1].square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    assert [*fitted.weights, fitted.bias] == pytest.approx(weights.tolist(), abs=1e-3)
    assert fitted.weights[0] > 2 and fitted.fitted == 200
    with pytest.raises(VlmDemoError, match="both"):
        fit_calibration.fit(evidence, np.ones(200, bool))


def test_a_calibration_is_kept_with_what_else_the_file_holds(tmp_path: Path) -> None:
    assert calibration.read_calibration(tmp_path) is None
    (tmp_path / "vlm_demo.json").write_text('{"heatmap": {"method": "last"}}')
    assert calibration.read_calibration(tmp_path) is None
    limits = Limits(0.2, 0.3, 0.01, 40)
    kept = Calibration(tuple(float(i) for i in range(len(NAMES))), 0.5, (0.3, 0.7), 12, limits)
    calibration.write_calibration(tmp_path, kept)
    assert calibration.read_calibration(tmp_path) == kept
    assert json.loads((tmp_path / "vlm_demo.json").read_text())["heatmap"] == {"method": "last"}
    (tmp_path / "vlm_demo.json").write_text('{"grounding": {"bias": 1}}')
    with pytest.raises(UnsupportedModel, match="mend it"):
        calibration.read_calibration(tmp_path)


def test_a_calibration_from_before_text_was_tried_is_read(tmp_path: Path) -> None:
    old = {"weights": {"hot": 1.0, "read": 2.0}, "bias": 0.5, "thresholds": [0.3, 0.7], "fitted": 12}
    (tmp_path / "vlm_demo.json").write_text(json.dumps({"grounding": old}))
    read = calibration.read_calibration(tmp_path)
    assert dict(zip(NAMES, read.weights, strict=True)) == dict.fromkeys(NAMES, 0.0) | old["weights"]
    assert read.limits == Limits()
    # of text it knows nothing: the drop decides, and the sentence claims nothing of how often it is right
    given = grounding_badge.badge(READ, replace(read, bias=-9.0), quote="12.50")
    assert given.level == "read" and "not measured" in given.sentence
    fitted = replace(read, bias=-9.0, limits=replace(read.limits, read=30))
    assert grounding_badge.badge(READ, fitted).level == "weak"


def test_limits_lie_above_what_chance_takes() -> None:
    rng = np.random.default_rng(0)
    found = [
        Evidence(0.5, float(rng.uniform(0, 0.2)), 0.9, 0.9, text=0.5 * (i % 2), other=0.1 * (i % 2) * rng.random())
        for i in range(200)
    ]
    found = [replace(evidence, blank=0.03 + 0.9 * i / 200) for i, evidence in enumerate(found)]
    limits = fit_calibration.fit_limits(found, [True] * 200)
    assert limits.picture == pytest.approx(0.15, abs=0.02) and limits.text == pytest.approx(0.075, abs=0.01)
    assert limits.nothing == 0.05 and limits.read == 100
    assert fit_calibration.fit_limits(found[:5], [True] * 5) == Limits()
    assert (
        fit_calibration.fit_limits([replace(evidence, elsewhere=0.0) for evidence in found], [True] * 200).picture
        == 0.01
    )


def test_the_pipelines_badge(pipe: Pipeline, noise) -> None:
    answered = pipe.ask(noise(80, 60), "How many circles are there?", max_new_tokens=4)
    badge = pipe.grounding(answered)
    assert badge.level in LEVELS and 0 <= badge.score <= 1 and badge.match is None
    found = pipe.evidence(answered)
    assert 0 < found.blank <= 1 and found.text == found.other == 0 and badge.words == ()
    assert found.share == pytest.approx(badge.share) and badge.drop == found.hot and 0 <= found.whole <= 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [("yes", (1, 0)), ("No.", (1, 0)), ("true", (1, 0)), ("3", (0, 1)), ("Two", (0, 1)), ("circle", (0, 0)),
     ("nobody", (0, 0)), ("one", (0, 1)), ("12.50", (0, 0))],
)  # fmt: skip
def test_the_evidence_says_what_sort_of_answer_it_is(text: str, expected: tuple[int, int]) -> None:
    found = grounding.gather(answer(text), Planted(1))
    assert (found.yes_no, found.number) == expected


def test_how_sure_the_model_was_counts_as_log_odds() -> None:
    at = NAMES.index("certain")
    rows = [calibration.as_row(replace(SURE, certain=sure))[at] for sure in (0.5, 0.9, 0.1, 0.0, 1.0)]
    assert rows == pytest.approx([0.0, np.log(9), -np.log(9), -np.log(999), np.log(999)])
