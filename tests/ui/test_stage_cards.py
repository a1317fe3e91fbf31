"""The inspector's cards of stages: how long a token took, and whose tokens they are."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.kit.ui import ask, request, run
from vlm_demo.contracts import Replay
from vlm_demo.ui.tabs.inspect.panels.stages_panel import cards, draw


@pytest.fixture
def exchange(page, picture):
    """An answer of nine tokens, which took 24 ms each."""
    events = page()
    run(events, ask(events, "Describe.", picture))
    return events.sessions.of(request().session_hash).last


def last_card(exchange) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", cards(exchange).rpartition('<div class="card">')[2]).split())


def test_tokens_that_were_cut_off_were_written_too(exchange):
    assert last_card(exchange) == "LLM 200 → 9 tokens 89 ms + 27 ms a token"
    exchange.answer = replace(exchange.answer, cut=8)
    assert last_card(exchange) == "LLM 200 → 9 tokens 89 ms + 14 ms a token"


def test_a_server_s_tokens_are_not_those_of_the_model_that_read_them(exchange):
    exchange.remote = True
    exchange.answer = replace(exchange.answer, replay=Replay("reader", 0.5, exchange.answer.tokens[:3]))
    assert last_card(exchange) == "Server 3 tokens 89 ms + 108 ms a token"


def test_where_nothing_was_written_there_is_no_pace(exchange):
    exchange.answer = replace(exchange.answer, timings=replace(exchange.answer.timings, decode=0.0))
    assert "a token" not in last_card(exchange)


def test_an_answer_that_was_given_was_read_here_even_if_a_server_is_in_service(exchange):
    exchange.given, exchange.remote, exchange.stages = exchange.answer.text, True, []
    assert last_card(exchange) == "LLM 200 → 9 tokens 89 ms"
    assert "LLM: reading the prompt" in draw(exchange) and "first word" not in draw(exchange)
