"""Chat turns: each is a question and one sentence, the same for the same seed."""

import numpy as np

from vlm_demo.training.chat_turns import ENGLISH_ONLY, FOREIGN, chat_turns


def test_every_answer_is_a_sentence_and_follows_from_the_question_and_the_seed() -> None:
    turns = list(chat_turns(np.random.default_rng(0)))
    assert turns == list(chat_turns(np.random.default_rng(0))) != list(chat_turns(np.random.default_rng(1)))
    assert all(
        question.strip() and answer[0].isupper() and answer[-1] in ".!?"
        for question, answer in turns
        if not answer[0].isdigit()
    )
    assert {answer for question, answer in turns if question in FOREIGN} == {ENGLISH_ONLY}


def test_sums_are_right() -> None:
    sums = [pair for pair in chat_turns(np.random.default_rng(0)) if pair[1][0].isdigit()]
    assert len(sums) == 60
    for question, answer in sums:
        a, sign, b = question.removeprefix("What is ").rstrip("?").split(" ")
        value = {"+": int(a) + int(b), "-": int(a) - int(b), "times": int(a) * int(b)}[sign]
        assert answer == f"{a} {sign} {b} is {value}." and value >= 0
