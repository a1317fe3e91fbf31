"""Answers of one model that are written at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import pytest
from PIL import Image

from vlm_demo import Pipeline
from vlm_demo.contracts import Answer
from vlm_demo.contracts.engine import Request


def written_together(pipe: Pipeline, pictures: Sequence[Image.Image], question: str, tokens: int) -> list[list[int]]:
    """The tokens of an answer about each picture, an event of each stream taken in turn; checked to be computed in one
    step, where the model can."""
    llm, sizes = pipe.stages().llm, list[int]()
    forward = llm.forward
    requests = [
        Request((picture,), f"{question}{' Say it again.' * i}", max_new_tokens=tokens)
        for i, picture in enumerate(pictures)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llm, "forward", lambda rows: (sizes.append(len(rows)), forward(rows))[1])
        rounds = list(zip_longest(*(pipe.answer(request, together=len(requests)) for request in requests)))
    assert max(sizes, default=1) == (len(requests) if pipe.can_batch else 1)
    ends = [[event for event in stream if isinstance(event, Answer)] for stream in zip(*rounds, strict=True)]
    return [[token.id for token in answer.tokens] for (answer,) in ends]


def written_alone(pipe: Pipeline, pictures: Sequence[Image.Image], question: str, tokens: int) -> list[list[int]]:
    """The same one after the other."""
    answers = [
        pipe.ask(picture, f"{question}{' Say it again.' * i}", max_new_tokens=tokens)
        for i, picture in enumerate(pictures)
    ]
    return [[token.id for token in answer.tokens] for answer in answers]
