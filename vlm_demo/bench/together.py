"""Together: several requests answered at once, against the same requests one after the other.

Each request is about another picture and made by another thread, as in a server. All run on the same weights in one
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
TOKENS_PER_REPEAT = 10  # of ``REPEATED_WORDS``
REPEATED_WORDS = "a large purple star and a small red square, "
STEADY_TOKENS = 8  # tokens before the second request; their pace is that of a plain decoding step

Answers = list[list[int]]  # the token ids of each


def rows(name: str, pipe: Pipeline, visitors: int, tokens: int, repeats: int) -> Iterator[Measurement]:
    """All rows for one model: tokens a second about new pictures, and about cached ones, where little more than
    decoding is left; how many answers are equal; and the longest gap in a stream during another long prefill."""
    name = f"{name}, {pipe.precision}"
    requests = [Request((measure.picture(seed),), QUESTION, max_new_tokens=tokens) for seed in range(visitors)]
    equal = visitors
    for remembered in (False, True):
        last: Answers = []

        def pace(ask: Callable[[Pipeline, list[Request]], Answers], remembered: bool = remembered) -> float:
            nonlocal last, equal
            if not remembered:
                pipe.forget()
            start = timing.clock()
            last, before = ask(pipe, requests), last
            seconds = timing.clock() - start
            if before:
                equal = min(equal, sum(one == other for one, other in zip(last, before, strict=True)))
            return sum(map(len, last)) / seconds

        paces = timing.taking_turns(repeats, lambda: pace(at_once), lambda: pace(one_by_one))
        label = "remembered" if remembered else "new"
        yield more(name, f"{visitors} at once / one by one, {label}", *paces, "tokens/s")
    yield more(name, "equal answers / all", equal, visitors, "answers")
    gaps, steps = zip(*(gap(pipe) for _ in range(repeats + 1)), strict=True)
    yield less(name, "longest gap / plain step", median(gaps[1:]), median(steps[1:]), "s")


def at_once(pipe: Pipeline, requests: list[Request]) -> Answers:
    """All answers, each requested by a separate thread."""
    with ThreadPoolExecutor(len(requests)) as pool:
        jobs = [
            pool.submit(lambda request: answered(pipe.answer(request, together=len(requests))), request)
            for request in requests
        ]
    return [[token.id for token in job.result().tokens] for job in jobs]


def one_by_one(pipe: Pipeline, requests: list[Request]) -> Answers:
    """Each answer after the other."""
    return [[token.id for token in answered(pipe.answer(request)).tokens] for request in requests]


def gap(pipe: Pipeline) -> tuple[float, float]:
    """The longest time between two tokens of a stream, from the start of another request with a long prompt until its
    first token; and the median before."""
    pipe.forget()
    long_request = Request((measure.picture(1),), REPEATED_WORDS * (LONG_PROMPT // TOKENS_PER_REPEAT), max_new_tokens=1)
    times = list[float]()
    with ThreadPoolExecutor(1) as pool:
        other_answer: Future[Answer] | None = None
        request = Request((measure.picture(),), QUESTION, max_new_tokens=pipe.stages().llm.family.context)
        stream: Any = pipe.answer(request, together=2)
        with closing(stream):
            for event in stream:
                if isinstance(event, TokenEvent):
                    times.append(timing.clock())
                if len(times) == STEADY_TOKENS + 2 and other_answer is None:
                    other_answer = pool.submit(lambda: answered(pipe.answer(long_request, together=2)))
                if other_answer is not None and other_answer.done():
                    break
    between = [later - earlier for earlier, later in pairwise(times)]
    return max(between[STEADY_TOKENS:]), median(between[1:STEADY_TOKENS])
