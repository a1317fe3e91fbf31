"""The figures for yes-or-no questions are those of a confusion table worked out by hand."""

import numpy as np
import pytest

from vlm_demo.evaluation.yes_no import YesNo
from vlm_demo.training.worlds.pope import SORTS, pope_items, popular
from vlm_demo.training.worlds.scenes import draw_scene


def test_the_figures_are_those_of_the_table():
    found = YesNo()
    answers = [("yes", "yes")] * 6 + [("yes", "no")] * 2 + [("no", "Yes.")] * 3 + [("no", "no")] * 8 + [("no", "maybe")]
    for truth, prediction in answers:
        found.add((truth,), prediction)
    figures = found.as_dict()
    assert figures["n"] == 20
    assert figures["precision"] == pytest.approx(6 / 9) and figures["recall"] == pytest.approx(6 / 8)
    assert figures["f1"] == pytest.approx(2 * (6 / 9) * (6 / 8) / (6 / 9 + 6 / 8))
    assert figures["yes_ratio"] == pytest.approx(9 / 20) and figures["true_yes_ratio"] == pytest.approx(8 / 20)


def test_no_answers_divide_by_nothing():
    assert YesNo().as_dict()["f1"] is None and YesNo().as_dict()["yes_ratio"] is None
    assert YesNo.fits(("No",)) and not YesNo.fits(("yes", "no")) and not YesNo.fits(("red",))


def test_the_questions_are_true_balanced_and_as_hard_as_their_kind():
    frequent = popular(3)
    assert len(frequent) == len(set(frequent)) > 40
    answers = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        picture = draw_scene(rng)
        things = {(thing.colour, thing.shape) for thing in picture.things}
        for item in pope_items(picture, rng, frequent):
            colour, shape = item["question"].split()[3:5]
            sort = item["kind"].removeprefix("pope ")
            assert sort in SORTS
            assert item["answer"] == ("yes" if (colour, shape) in things else "no")
            if sort == "adversarial" and item["answer"] == "no":
                assert colour in {c for c, _ in things} and shape in {s for _, s in things}
            answers.append(item["answer"])
    assert len(answers) > 200 and np.mean([answer == "yes" for answer in answers]) == 0.5
