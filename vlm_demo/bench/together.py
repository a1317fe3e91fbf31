"""Visitors: what several people who ask at once get, against the same people one after the other.

Each asks about a picture of their own, in a thread of their own, as a server has it. All run on the same weights in one
process, in turn, and medians are compared, as in ``bench.measure``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from statistics import median
from typing import Any

from vlm_demo import Pipeline
from vlm_demo.bench import measure, timing
from vlm_demo.bench.measure import Measurement, less, more
from vlm_demo.bench.plain_transformers import QUESTION
from vlm_demo.contracts import Answer, TokenEvent
from vlm_demo.contracts.engine import Request, answered

LONG_PROMPT = 1500  # tokens, about
TOKENS_OF_WORDS = 10  # so many has ``WORDS``
WORDS = "a large purple star and a small red square, "
SOME = 8  # tokens before another visitor comes, whose pace is a plain step's

Answers = list[list[int]]  # the tokens of each


def rows(name: str, pipe: Pipeline, visitors: int, tokens: int, repeats: int) -> Iterator[Measurement]:
    """All rows for one model: tokens a second about new pictures, and about remembered ones, of which there is little
    more than decoding; how many answers are equal; and the longest gap in a stream while a long prompt is read."""
    name = f"{name}, {pipe.precision}"
    requests = [Request((measure.picture(seed),), QUESTION, max_new_tokens=tokens) for seed in range(visitors)]
    equal = visitors
    for remembered in (False, True):
        last: Answers = []

        def pace(ask: Callable[[Pipeline, list[Request]], Answers], remembered: bool = remembered) -> float:
            nonlocal last, equal
            if not remembered:
                pipe.forget()
            began = timing.clock()
            last, before = ask(pipe, requests), last
            seconds = timing.clock() - began
            if before:
                equal = min(equal, sum(one == other for one, other in zip(last, before, strict=True)))
            return sum(map(len, last)) / seconds

        paces = timing.taking_turns(repeats, lambda: pace(at_once), lambda: pace(one_by_one))
        about = "remembered" if remembered else "new"
        yield more(name, f"{visitors} at once / one by one, {about}", *paces, "tokens/s")
    yield more(name, "equal answers / all", equal, visitors, "answers")
    gaps, steps = zip(*(gap(pipe) for _ in range(repeats + 1)), strict=True)
    yield less(name, "longest gap / plain step", median(gaps[1:]), median(steps[1:]), "s")


def at_once(pipe: Pipeline, requests: list[Request]) -> Answers:
    """All answers, each asked for in a thread of its own."""
    with ThreadPoolExecutor(len(requests)) as pool:
        jobs = [pool.submit(lambda own: answered(pipe.answer(own, together=len(requests))), own) for own in requests]
    return [[token.id for token in job.result().tokens] for job in jobs]


def one_by_one(pipe: Pipeline, requests: list[Request]) -> Answers:
    """Each answer after the other."""
    return [[token.id for token in answered(pipe.answer(request)).tokens] for request in requests]


def gap(pipe: Pipeline) -> tuple[float, float]:
    """The longest time between two tokens of a stream, from when another visitor asks with a long prompt until that one
    has a token; and the median before."""
    pipe.forget()
    long_one = Request((measure.picture(1),), WORDS * (LONG_PROMPT // TOKENS_OF_WORDS), max_new_tokens=1)
    times = list[float]()
    with ThreadPoolExecutor(1) as pool:
        other: Future[Answer] | None = None
        request = Request((measure.picture(),), QUESTION, max_new_tokens=pipe.stages().llm.family.context)
        stream: Any = pipe.answer(request, together=2)
        with closing(stream):
            for event in stream:
                if isinstance(event, TokenEvent):
                    times.append(timing.clock())
                if len(times) == SOME + 2 and other is None:
                    other = pool.submit(lambda: answered(pipe.answer(long_one, together=2)))
                if other is not None and other.done():
                    break
    between = [later - earlier for earlier, later in pairwise(times)]
    return max(between[SOME:]), median(between[1:SOME])
