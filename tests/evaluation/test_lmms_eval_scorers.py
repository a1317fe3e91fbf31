"""The benchmarks' metrics against the scorers of lmms-eval, whose tasks are ChartQA, DocVQA and TextVQA."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from vlm_demo.evaluation.benchmark_scores import MARKS, SHORTENED, anls, normalised, relaxed_accuracy, vqa_accuracy

lmms_eval = pytest.importorskip("lmms_eval", reason="lmms-eval has an environment of its own, see README")

PAIRS = 5000
WORDS = ("a", "The", "two", "none", "3.5", "1,200", "12%", "U.S.A.", "T-shirt", "mcdonald's", "New\nYork", "what?!")


def _texts(generator: random.Random) -> Iterator[str]:
    """Words, numbers, shortened forms and marks, in any case."""
    while True:
        kinds = [
            generator.choice(WORDS),
            generator.choice(SHORTENED).replace("'", generator.choice(("'", ""))),
            str(round(generator.uniform(-300, 300), generator.randint(0, 2))),
            generator.choice(MARKS),
            "".join(generator.choices("abc1", k=generator.randint(1, 6))),
        ]
        text = generator.choice((" ", "")).join(generator.choices(kinds, k=generator.randint(1, 3)))
        yield generator.choice((str.lower, str.upper, str))(text)


def _changed(text: str, generator: random.Random) -> str:
    """The text with some letters replaced, or a number near it."""
    try:
        return f"{float(text) * generator.choice((0.94, 0.951, 1, 1.049, 1.06)):.6g}"
    except ValueError:
        letters = list(text)
        for i in generator.sample(range(len(letters)), generator.randint(0, len(letters))):
            letters[i] = generator.choice("abcx ")
        return "".join(letters)


def _pairs(seed: int) -> Iterator[tuple[str, list[str]]]:
    generator = random.Random(seed)
    texts = _texts(generator)
    for _ in range(PAIRS):
        answers = [next(texts) for _ in range(generator.randint(1, 3))]
        yield _changed(generator.choice(answers), generator), answers


def _agree(ours: Callable[[str, list[str]], float], theirs: Callable[[str, list[str]], float], seed: int) -> set[float]:
    """Compare on all pairs; returns the scores that came up."""
    scores = set()
    for prediction, answers in _pairs(seed):
        expected = theirs(prediction, answers)
        assert ours(prediction, answers) == pytest.approx(expected), (prediction, answers)
        scores.add(round(float(expected), 3))
    return scores


def test_relaxed_accuracy_is_chartqas() -> None:
    """But for an expected 0, which that code compares as a text, and for spaces around a text."""
    from lmms_eval.tasks.chartqa.utils import relaxed_correctness

    found = _agree(
        lambda prediction, answers: relaxed_accuracy(prediction.strip(), [answers[0].strip()]),
        lambda prediction, answers: relaxed_correctness(prediction.strip(), answers[0].strip()),
        1,
    )
    assert found == {0, 1}
    assert relaxed_accuracy("0.0", ["0"]) and not relaxed_correctness("0.0", "0")


def test_anls_is_docvqas() -> None:
    """On texts whose spaces are single, since that code counts more of them in the length alone."""
    from lmms_eval.api.metrics import anls as theirs

    def single(text: str) -> str:
        return " ".join(text.split())

    found = _agree(
        lambda prediction, answers: anls(single(prediction), [single(answer) for answer in answers]),
        lambda prediction, answers: theirs([single(answer) for answer in answers], [single(prediction)])["anls"],
        2,
    )
    assert {0, 0.5, 1} < found


def test_vqa_accuracy_and_its_texts_are_textvqas() -> None:
    from lmms_eval.tasks._task_utils.vqa_eval_metric import EvalAIAnswerProcessor
    from lmms_eval.tasks.textvqa.utils import textvqa_process_results

    processor, generator = EvalAIAnswerProcessor(), random.Random(3)

    def theirs(prediction: str, answers: list[str]) -> float:
        return textvqa_process_results({"answers": list(answers), "question_id": 0}, [prediction])["exact_match"]

    scores = set()
    for prediction, answers in _pairs(4):
        assert normalised(prediction) == processor(prediction), prediction
        people = generator.choices([prediction, *answers], k=10)
        score = theirs(prediction, people)
        assert vqa_accuracy(prediction, people) == pytest.approx(score), (prediction, people)
        scores.add(round(score, 3))
    assert {0.3, 0.6, 0.9, 1} <= scores
