"""A server's answer that falls into a loop is cut as a local one is, and its request is closed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.engines.test_remote_engine import answer_of, engine_of
from tests.kit.chat_server import chat_server
from tests.kit.engine_conformance import answered, make_request
from tests.kit.waiting import LONG
from vlm_demo import Pipeline
from vlm_demo.contracts import StageEvent
from vlm_demo.contracts.events import DecodeFacts
from vlm_demo.contracts.sampling import Sampling
from vlm_demo.engines.local import LocalEngine


@pytest.mark.parametrize(
    "loop",
    [(" star",), (" a", " red", " square", " and"), (" the picture", " shows a large pur", "ple star.")],
)
def test_an_answer_that_loops_is_cut_and_its_request_is_closed(loop: tuple[str, ...], pipe: Pipeline) -> None:
    """The server would go on for far more than fits between it and its reader."""
    with chat_server(tokens=("yes.", *loop * 100_000)) as server:
        for engine in (engine_of(server), engine_of(server, LocalEngine(pipe))):
            events, answer = answered(engine, make_request(max_new_tokens=10**6))
            assert server.left.wait(LONG)
            assert answer.text == "yes." + "".join(loop) and answer.cut and answer.unfinished and not answer.stopped
            assert "began to repeat itself" in answer.shortened
            assert "".join(token.text for token in answer.written) == answer.text
            decode = events[-1]
            assert isinstance(decode, StageEvent) and isinstance(decode.facts, DecodeFacts)
            assert decode.facts.tokens == len(answer.written) + answer.cut < 200 and decode.facts.cut == answer.cut
            server.left.clear()


def test_an_answer_that_comes_whole_is_cut_in_the_middle_of_a_chunk() -> None:
    answer, _ = answer_of(tokens=("I see a cat. " + "This is a cat. " * 9,), streams=False)
    assert answer.text == "I see a cat. This is a cat." and answer.cut == 1
    assert [token.text for token in answer.tokens] == [answer.text]


def test_a_long_list_and_a_table_are_written_to_their_end() -> None:
    listed = tuple(f"\n- a picture of a star ({i})" for i in range(60))
    table = tuple(f"| {i} | red | {'-' * 60} | 0 | 0 | 0 |\n" for i in range(40))
    for tokens in (listed, table):
        answer, _ = answer_of(make_request(max_new_tokens=None), tokens=tokens)
        assert answer.text == "".join(tokens) and not answer.cut and not answer.full


def test_an_answer_that_is_held_to_a_schema_is_not_cut() -> None:
    odd = ("[", *("0, ",) * 100, "0]")
    request = make_request(max_new_tokens=None)
    assert answer_of(request, tokens=odd)[0].cut
    held = replace(request, sampling=Sampling(schema='{"type": "array"}'))
    assert answer_of(held, tokens=odd)[0].text == "".join(odd)
