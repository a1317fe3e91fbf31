"""The caches of the embedded families; those of the others are tested with their parity."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.kit.tiny import tiny_blip2, tiny_idefics, tiny_llava
from tests.models.adapters.remembering import FIRST, SECOND, remembering_changes_nothing, same, traced
from vlm_demo import Pipeline, Turn
from vlm_demo.runtime.kv_cache import ROOM

MADE: dict[str, Callable[[Path], Path]] = {
    "llava": tiny_llava,
    "llava-bf16": lambda folder: tiny_llava(folder, dtype=torch.bfloat16),
    "blip2": tiny_blip2,
    "blip2-opt": lambda folder: tiny_blip2(folder, lm="opt"),
    "idefics": tiny_idefics,
    "idefics-bf16": lambda folder: tiny_idefics(folder, dtype=torch.bfloat16),
}


@pytest.mark.parametrize("name", MADE)
def test_remembering_changes_nothing(name: str, tmp_path: Path, noise) -> None:
    pipe = Pipeline.from_pretrained(MADE[name](tmp_path / name))
    remembering_changes_nothing(pipe, noise(60, 90, 1), noise(90, 60, 2), noise(50, 50, 3))


def test_a_second_question_reads_only_what_comes_behind_the_first(pipe: Pipeline, noise) -> None:
    pipe.forget()
    first = traced(pipe, [noise(50, 50)], FIRST)
    second = traced(pipe, [], SECOND, [Turn(FIRST, first.answer.text, (noise(50, 50),))])
    assert second.known == len(first.answer.prompt.ids)
    assert second.details["prefill"].endswith(f"{second.known} of them from memory")


def test_many_pages_share_one_memory_within_its_budget(pipe: Pipeline, noise) -> None:
    """Twenty chats of three questions: never more than the budget, and the oldest are forgotten."""
    budget = pipe.remembered.budget
    pipe.forget()
    traced(pipe, [noise(50, 50, 0)], FIRST)
    one = pipe.remembered.bytes
    try:
        pipe.remembered.budget = 4 * one
        for chat in range(20):
            picture, history = noise(50, 50, chat), []
            for question in (FIRST, SECOND, FIRST):
                traced(pipe, [] if history else [picture], question, history, 2)
                history.append(Turn(question, "a red star", () if history else (picture,)))
                assert one <= pipe.remembered.bytes <= 4 * one
        assert not traced(pipe, [noise(50, 50, 19)], FIRST).encoded
        assert traced(pipe, [noise(50, 50, 0)], FIRST).encoded
    finally:
        pipe.remembered.budget = budget


def test_a_chat_holds_one_reading_however_long_it_gets(pipe: Pipeline, noise) -> None:
    pipe.forget()
    history: list[Turn] = []
    picture = noise(50, 50, 5)
    for _ in range(4):
        last = traced(pipe, [] if history else [picture], FIRST, history, 2)
        history.append(Turn(FIRST, "a red star", () if history else (picture,)))
    long = pipe.remembered.bytes
    pipe.forget()
    alone = traced(pipe, [], FIRST, history[:3], 2)
    same(last.answer, alone.answer)
    text = pipe.model.config.get_text_config()
    width = text.hidden_size // text.num_attention_heads
    a_token = 2 * text.num_hidden_layers * text.num_key_value_heads * width * 4  # bytes of keys and values in float32
    assert abs(long - pipe.remembered.bytes) <= ROOM * a_token  # places that are still free


def test_nothing_is_left_after_forgetting(pipe: Pipeline, noise) -> None:
    traced(pipe, [noise(50, 50, 6)], FIRST)
    assert pipe.remembered.bytes > 0
    pipe.forget()
    assert pipe.remembered.bytes == 0
    assert traced(pipe, [noise(50, 50, 6)], FIRST).encoded


def test_maps_and_answers_in_between_do_not_disturb(pipe: Pipeline, noise) -> None:
    """What reads the model between two tokens of an answer leaves the answer as it is."""
    picture = noise(60, 60, 7)
    pipe.forget()
    alone = traced(pipe, [picture], FIRST).answer
    stream = pipe.stream(picture, FIRST, max_new_tokens=6)
    for event in stream:
        if type(event).__name__ == "TokenEvent":
            pipe.heatmap(alone, 0, method="relevancy")
            pipe.ask(picture, SECOND, max_new_tokens=1)
    same(event, alone)


def test_an_answer_stopped_after_its_first_word_leaves_its_prompt(pipe: Pipeline, noise) -> None:
    pipe.forget()
    for event in pipe.stream(noise(50, 50, 8), FIRST):
        if type(event).__name__ == "TokenEvent":
            break
    assert traced(pipe, [noise(50, 50, 8)], SECOND).known
