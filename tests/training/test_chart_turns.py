"""Questions that the lines of a chart answer."""

from __future__ import annotations

import numpy as np
import pytest

from vlm_demo.training.chart_turns import chart_turns

YEARS = ["Sales", "30%", "2016 12.5%", "2017 41%", "2018 7%", "Statista 2021 (c)"]
NAMES = ["North 1 200", "United Kingdom 8", "South 5", "West 5.5", "Source"]


@pytest.mark.parametrize(
    ("lines", "values", "most"),
    [
        (YEARS, {"2016": "12.5", "2017": "41", "2018": "7"}, {"2017", "2018"}),
        (NAMES, {"United Kingdom": "8", "South": "5", "West": "5.5"}, {"United Kingdom", "South"}),
    ],
)
def test_answers_are_what_the_lines_say(lines, values, most):
    seen = set()
    for seed in range(20):
        for turn in chart_turns(lines, np.random.default_rng(seed)):
            seen.add(turn.kind)
            if turn.kind == "chart-value":
                assert turn.answer == next(value for label, value in values.items() if label in turn.question)
            else:
                largest = any(word in turn.question for word in ("highest", "largest"))
                assert turn.answer in most and (turn.answer in ("2017", "United Kingdom")) == largest
    assert seen == {"chart-value", "chart-most"}


@pytest.mark.parametrize(
    "lines", [[], ["Total 5"], ["A 5", "B 1.2.3", "C 7"], ["A 5", "B 6", "text", "C 7"], ["A 5", "A 6", "A 7"]]
)
def test_few_lines_or_unclear_ones_are_not_asked_about(lines):
    assert chart_turns(lines, np.random.default_rng(0)) == []


def test_of_two_largest_ones_none_is_asked_for():
    kinds = [
        turn.kind
        for seed in range(10)
        for turn in chart_turns(["A 5", "B 9", "C 9", "D 5"], np.random.default_rng(seed))
    ]
    assert set(kinds) == {"chart-value"}
