"""The benchmarks' metrics, against plain second ways to compute them and cases worked out by hand."""

from __future__ import annotations

import random
from functools import cache
from statistics import mean

import pytest

from vlm_demo.evaluation.benchmark_scores import anls, edits, normalised, relaxed_accuracy, scored, vqa_accuracy


def distance(one: str, other: str) -> int:
    """Levenshtein's distance as it is defined, by recursion on the first letters."""

    @cache
    def rest(i: int, j: int) -> int:
        if i == len(one) or j == len(other):
            return len(one) - i + len(other) - j
        return min(rest(i + 1, j) + 1, rest(i, j + 1) + 1, rest(i + 1, j + 1) + (one[i] != other[j]))

    return rest(0, 0)


def test_the_edit_distance_is_levenshteins() -> None:
    assert (edits("kitten", "sitting"), edits("flaw", "lawn"), edits("", "abc"), edits("abc", "")) == (3, 2, 3, 3)
    generator = random.Random(1)
    for _ in range(300):
        one, other = ("".join(generator.choices("abc", k=generator.randint(0, 8))) for _ in range(2))
        assert edits(one, other) == distance(one, other)


def test_anls_is_equation_1() -> None:
    generator = random.Random(2)
    scores = []
    for _ in range(500):
        answers = [
            "".join(generator.choices("abC1", k=generator.randint(1, 8))) for _ in range(generator.randint(1, 3))
        ]
        prediction = generator.choice([*answers, ""]) + "".join(generator.choices("abC1", k=generator.randint(0, 4)))
        shares = [distance(one.lower(), prediction.lower()) / max(len(one), len(prediction)) for one in answers]
        expected = max(1 - share if share <= 0.5 else 0 for share in shares)
        assert anls(prediction, answers) == pytest.approx(expected)
        scores.append(expected)
    assert 0 in scores and 1 in scores and any(0.5 < one < 1 for one in scores)


@pytest.mark.parametrize(
    ("prediction", "answers", "score"),
    [
        ("Coca Cola", ["coca  cola"], 1.0),
        ("kitten", ["sitting"], 1 - 3 / 7),
        ("University of California", ["UCSD", "university of california, san diego"], 24 / 35),
        ("12", ["13"], 0.5),  # just a half
        ("123", ["345"], 0.0),
        ("123", ["124"], 2 / 3),
        ("", ["a"], 0.0),
        ("no", ["yes"], 0.0),
    ],
)
def test_anls_by_hand(prediction: str, answers: list[str], score: float) -> None:
    assert anls(prediction, answers) == pytest.approx(score)


@pytest.mark.parametrize(
    ("prediction", "answer", "right"),
    [
        ("105", "100", True),
        ("95.0", "100", True),
        ("105.1", "100", False),
        ("94.9", "100", False),
        ("1.05", "1", True),
        ("-95", "-100", True),
        ("95", "-100", False),
        ("0.0", "0", True),
        ("0.001", "0", False),
        ("2019", "2020", True),  # the paper makes no exception for years
        ("42%", "0.42", True),
        ("42%", "42", False),
        ("1,268", "1268", False),  # no number to the evaluation code
        (" finland\n", "Finland", True),
        ("Finland.", "Finland", False),
        ("nan", "NaN", True),
        ("inf", "100", False),
        ("", "0", False),
    ],
)
def test_relaxed_accuracy_is_five_percent_or_the_same_text(prediction: str, answer: str, right: bool) -> None:
    assert relaxed_accuracy(prediction, [answer]) is right


def leave_one_out(prediction: str, answers: list[str]) -> float:
    """VQA's accuracy as it is defined: ten times nine people."""
    return mean(
        min(sum(one == prediction for j, one in enumerate(answers) if j != i) / 3, 1) for i in range(len(answers))
    )


@pytest.mark.parametrize(
    ("people", "score"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]
)  # the known table of VQA's evaluation
def test_vqa_accuracy_is_the_mean_over_nine_of_ten_people(people: int, score: float) -> None:
    answers = ["nous"] * people + [f"other{i}" for i in range(10 - people)]
    assert vqa_accuracy("Nous", answers) == pytest.approx(score) == pytest.approx(leave_one_out("nous", answers))


def test_vqa_accuracy_needs_somebody_else() -> None:
    assert vqa_accuracy("a dog", ["dog"]) == 0.0 and vqa_accuracy("dog", []) == 0.0


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("The Dog.", "dog"),
        ("an apple, a pear", "apple pear"),
        ("Ten", "10"),
        ("none", "0"),
        ("eleven", "eleven"),  # digits end at ten
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("its", "its"),
        ("T-shirt", "t shirt"),
        ("coca - cola", "coca cola"),
        ("coca - cola-light", "coca colalight"),  # one hyphen touches a space, so both are dropped
        ("1,000", "1000"),
        ("over -under-way", "over underway"),  # a space before it is enough
        ("over under- way-side", "over under wayside"),
        ("3.5", "3.5"),
        ("U.S.A.", "usa"),
        ("100%", "100%"),
        ("mcdonald's", "mcdonald 's"),
        ("new\nyork\tcity", "new york city"),
        ("what?!", "what"),
        ("A", ""),
    ],
)
def test_normalised_as_in_vqas_evaluation(text: str, same: str) -> None:
    assert normalised(text) == same


def test_a_metric_is_found_by_its_name() -> None:
    assert scored("exact", "Red.", ["red"]) is True and scored("relaxed_accuracy", "5", ["6"]) is False
    assert scored("anls", "kitten", ["sitting"]) == pytest.approx(4 / 7)
    assert scored("vqa_accuracy", "one", ["1"] * 2 + ["2"] * 8) == pytest.approx(0.6)
