"""Answers that are written together, against the same ones written one by one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.kit.tiny import tiny_llava
from tests.kit.waiting import LONG, wait_until
from vlm_demo import Pipeline, Turn
from vlm_demo.contracts import Answer, TokenEvent
from vlm_demo.contracts.engine import Event, Request, answered
from vlm_demo.contracts.sampling import Sampling
from vlm_demo.errors import BadSetting
from vlm_demo.runtime import batch_cache, prefix_cache
from vlm_demo.stages import batching

SCHEMA = '{"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}'


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A separate model, that writes up to eight answers together, and on until the limit."""
    pipe = Pipeline.from_pretrained(tiny_llava(tmp_path_factory.mktemp("batched"), context=1024))
    assert pipe.can_batch
    pipe.cuts_repetition = False
    return pipe


@pytest.fixture(scope="module")
def requests(noise) -> list[Request]:
    """Eight that differ in all that they can."""
    history = (Turn("What colour is the star?", "blue", (noise(30, 40, 9),)),)
    return [
        Request((noise(60, 40, 1),), "How many circles are there?", max_new_tokens=24),
        Request((noise(60, 40, 1),), "Describe the scene.", max_new_tokens=3),
        Request((noise(40, 60, 2), noise(40, 60, 3)), "What is there?" * 20, max_new_tokens=17),
        Request((noise(50, 50, 4),), "Draw.", max_new_tokens=20, sampling=Sampling(temperature=1.5, seed=3)),
        Request((noise(50, 50, 4),), "Draw.", max_new_tokens=20, sampling=Sampling(temperature=1.5, seed=4, top_k=9)),
        Request((noise(50, 50, 5),), "Fill in.", max_new_tokens=24, sampling=Sampling(schema=SCHEMA)),
        Request((), "And the square?", max_new_tokens=11, history=history, system="Be brief."),
        Request((noise(50, 50, 6),), "Say no more?", max_new_tokens=15, sampling=Sampling(alternatives=2)),
    ]


@pytest.fixture(scope="module")
def alone(tiny: Pipeline, requests: list[Request]) -> list[Answer]:
    """Their answers one by one."""
    return [answered(tiny.answer(request)) for request in requests]


@contextmanager
def counted(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many rows each step has."""
    llm, sizes = pipe.stages().llm, list[int]()
    forward = llm.forward

    def count(rows: Sequence[batching.RunningAnswer]) -> object:
        sizes.append(len(rows))
        return forward(rows)

    with monkeypatch.context() as patch:
        patch.setattr(llm, "forward", count)
        yield sizes


def taking_turns(streams: Sequence[Iterator[Event]], starts: Sequence[int] = ()) -> list[Answer]:
    """Take one event of each stream in turn, of stream i from round ``starts[i]`` on; their answers."""
    found: dict[int, Answer] = {}
    going, round_number = dict(enumerate(streams)), 0
    while going:
        for i, stream in list(going.items()):
            if not starts or round_number >= starts[i]:
                event = next(stream, None)
                if isinstance(event, Answer):
                    found[i] = event
                if event is None:
                    del going[i]
        round_number += 1
    return [found[i] for i in sorted(found)]


def same(one: Answer, other: Answer) -> bool:
    """The same tokens, with probabilities and attention of the same numbers but for rounding."""
    assert one.trace is not None and other.trace is not None
    return (
        [token.id for token in one.tokens] == [token.id for token in other.tokens]
        and one.text == other.text
        and np.allclose(
            [token.probability for token in one.tokens], [token.probability for token in other.tokens], atol=1e-4
        )
        and np.allclose(one.trace.image, other.trace.image, atol=2e-3)
        and np.allclose(one.trace.text, other.trace.text, atol=2e-3)
        and (one.trace.closing is None) == (other.trace.closing is None)
    )


@pytest.mark.parametrize("stacked", [0, batch_cache.MOST_STACKED], ids=["row by row", "stacked"])
def test_answers_written_together_are_those_written_one_by_one(
    tiny: Pipeline, requests: list[Request], alone: list[Answer], monkeypatch: pytest.MonkeyPatch, stacked: int
) -> None:
    monkeypatch.setattr(batch_cache, "MOST_STACKED", stacked)
    monkeypatch.setattr(batch_cache, "MOST_PADDED", 8)  # one of them is long
    assert len({len(answer.tokens) for answer in alone}) >= 5
    with counted(tiny, monkeypatch) as sizes:
        together = taking_turns([tiny.answer(request, together=8) for request in requests], [0, 0, 9, 4, 2, 11, 7, 0])
    assert max(sizes) >= 6 and len(set(sizes)) >= 4
    assert all(same(answer, other) for answer, other in zip(together, alone, strict=True))
    assert [token.alternatives for token in together[7].tokens[:1]] != [()]


def test_threads_share_their_steps(
    tiny: Pipeline, requests: list[Request], alone: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[int, Answer] = {}
    ready = threading.Barrier(len(requests))

    def ask(number: int) -> None:
        stream = tiny.answer(requests[number], together=8)
        while not isinstance(next(stream), TokenEvent):
            pass
        ready.wait(LONG)
        found[number] = answered(stream)

    with counted(tiny, monkeypatch) as sizes:
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(requests))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
    assert max(sizes) >= 4
    assert all(same(found[i], alone[i]) for i in range(len(requests)))


def test_who_stops_leaves_the_others_as_they_are(tiny: Pipeline, requests: list[Request], alone: list[Answer]) -> None:
    taken: list[Event] = []
    stopped = replace(requests[0], cancelled=lambda: sum(isinstance(event, TokenEvent) for event in taken) >= 2)
    streams = [tiny.answer(request, together=8) for request in (stopped, *requests[2:5])]
    closed = tiny.answer(requests[7], together=8)

    def watched() -> Iterator[Event]:
        for event in streams[0]:
            taken.append(event)
            yield event

    def closing() -> Iterator[Event]:
        for event in closed:
            if isinstance(event, TokenEvent):
                closed.close()
                return
            yield event

    first, *others = taking_turns([watched(), *streams[1:], closing()])
    assert first.stopped and [token.id for token in first.tokens] == [token.id for token in alone[0].tokens[:2]]
    assert all(same(answer, other) for answer, other in zip(others, alone[2:5], strict=True))
    assert not tiny.stages().llm.batch._rows


@pytest.mark.parametrize("whole", [False, True])
def test_a_request_that_fails_fails_alone(
    tiny: Pipeline, requests: list[Request], alone: list[Answer], monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Whether one token can't be chosen, or a ``whole`` step fails for its sake in one of its layers."""
    llm, prompt = tiny.stages().llm, alone[2].prompt.ids
    choose, forward, update = llm.choose, llm.forward, batch_cache.BatchLayer.update
    errors = list[Exception]()

    def chosen(row: batching.RunningAnswer, found: object) -> object:
        if row.prompt.ids == prompt and len(row.ids) == len(prompt) + 3:
            raise BadSetting("This one can't go on.")
        return choose(row, found)

    def forwarded(rows: Sequence[batching.RunningAnswer]) -> object:
        if len(rows) == 1 and rows[0].prompt.ids == prompt:
            raise BadSetting("This one can't go on.")
        return forward(rows)

    def updated(layer: batch_cache.BatchLayer, *states: torch.Tensor) -> object:
        made = update(layer, *states)
        if any(row.get_seq_length() == len(prompt) + 4 for row in layer.rows):
            raise RuntimeError("out of memory")
        return made

    def failing() -> Iterator[Event]:
        try:
            yield from tiny.answer(requests[2], together=8)
        except BadSetting as error:
            errors.append(error)

    if whole:
        monkeypatch.setattr(llm, "forward", forwarded)
        monkeypatch.setattr(batch_cache.BatchLayer, "update", updated)
    else:
        monkeypatch.setattr(llm, "choose", chosen)
    others = (0, 3, 7)
    found = taking_turns([failing(), *(tiny.answer(requests[i], together=8) for i in others)])
    assert len(errors) == 1
    assert all(same(answer, alone[i]) for answer, i in zip(found, others, strict=True))


def test_a_long_prompt_is_read_in_passes_that_change_nothing(
    tiny: Pipeline, noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm, logits = tiny.stages().llm, list[torch.Tensor]()
    pieces: list[int] = []
    forward, choose = llm._forward, llm.choose

    def passed(embeddings: torch.Tensor, *others: object) -> object:
        pieces.append(embeddings.shape[1])
        return forward(embeddings, *others)

    def chosen(row: batching.RunningAnswer, found: tuple[torch.Tensor, object]) -> object:
        logits.append(found[0])
        return choose(row, found)

    monkeypatch.setattr(llm, "_forward", passed)
    monkeypatch.setattr(llm, "choose", chosen)
    request = Request((noise(60, 40, 1),), "How many circles are there? " * 40, max_new_tokens=2)
    texts = []
    for longest in (10_000, 50):
        monkeypatch.setattr(prefix_cache, "LONGEST", longest)
        tiny.forget()
        texts.append(answered(tiny.answer(request, together=8)).text)
    whole, cut = logits[0], logits[2]
    assert max(pieces[:2]) > 200 and len(pieces) > 8 and max(pieces[3:]) <= 50
    assert torch.allclose(whole, cut, atol=1e-4) and texts[0] == texts[1]


def test_waiting_for_memory_counts_to_no_stage(tiny: Pipeline, requests, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def full(*_: object) -> Iterator[None]:
        time.sleep(2)
        yield

    monkeypatch.setattr(tiny.stages().llm.batch, "room", full)
    began = time.perf_counter()
    timings = answered(tiny.answer(requests[0], together=8)).timings
    assert time.perf_counter() - began > 2 > timings.total > timings.first_token > timings.prefill


def test_memory_is_waited_for_in_the_order_of_coming(tiny: Pipeline) -> None:
    batch, order = batching.Batch(tiny.stages().llm, tiny.stages().llm.guard), list[str]()
    batch.budget, batch.token_bytes = 100, 1

    def take(name: str, tokens: int) -> threading.Thread:
        def work() -> None:
            with batch.room(tokens):
                order.append(name)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    with batch.room(500):  # more than there is, but nobody else has any
        large = take("large", 90)
        assert wait_until(lambda: len(batch._waiting) == 1)
        small = take("small", 20)
        assert wait_until(lambda: len(batch._waiting) == 2)
        assert not order
    for thread in (large, small):
        thread.join(LONG)
    assert order == ["large", "small"] and not batch._reserved
