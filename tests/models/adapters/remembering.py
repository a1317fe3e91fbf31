"""What every family must show of its memory: answers are the same to the last bit, and nothing is computed twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from vlm_demo import Pipeline, Turn
from vlm_demo.contracts import Answer, StageEvent
from vlm_demo.ui.stage_words import detail

FIRST, OTHER, SECOND = "What colour is the star?", "Is there a red square?", "How many circles are there?"
TOKENS = 6


@dataclass
class Told:
    """One answer, its stages' details, and how often the first layers of encoder and language model ran."""

    answer: Answer
    details: dict[str, str]
    encoded: int
    read: int

    @property
    def known(self) -> int:
        """Tokens of the prompt that were remembered."""
        _, _, cached = self.details["prefill"].partition(", ")
        return int(cached.split()[0]) if cached.endswith("from memory") else 0


def traced(
    pipe: Pipeline, pictures: Sequence[Image.Image], question: str, history: Sequence[Turn] = (), tokens: int = TOKENS
) -> Told:
    encoded: list[int] = []
    read: list[int] = []
    family = pipe.stages().llm.family

    def note(_module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        states = args[0] if args else kwargs["hidden_states"]
        read.append(states.shape[1])

    hooks = [
        family.encoder_layers[0].register_forward_pre_hook(lambda *_: encoded.append(1)),
        family.language_layers[0].register_forward_pre_hook(note, with_kwargs=True),
    ]
    try:
        events = list(pipe.stream(list(pictures), question, history=history, max_new_tokens=tokens))
    finally:
        for hook in hooks:
            hook.remove()
    answer = events[-1]
    details = {event.name: detail(event) for event in events if isinstance(event, StageEvent)}
    assert isinstance(answer, Answer)
    # Every token but the last is read, and no more of the prompt than was not remembered.
    return Told(answer, details, len(encoded), sum(read))


def same(one: Answer, two: Answer) -> None:
    """Not nearly: equal."""
    assert one.prompt == two.prompt
    assert one.tokens == two.tokens
    assert (one.trace is None) == (two.trace is None)
    if one.trace is not None:
        for rows, other in ((one.trace.image, two.trace.image), (one.trace.text, two.trace.text)):
            assert (rows is None and other is None) or np.array_equal(rows, other)


def remembering_changes_nothing(pipe: Pipeline, picture: Image.Image, other: Image.Image, third: Image.Image) -> None:
    """A first question, a second one, an edited first one, the way back, another picture, one picture more."""
    budget = pipe.remembered.budget
    asked = [
        ([picture], FIRST, ()),
        ([], SECOND, (Turn(FIRST, "a red star", (picture,)),)),
        ([picture], OTHER, ()),
        ([picture], FIRST, ()),
        ([other], FIRST, ()),
        ([third], SECOND, (Turn(FIRST, "a red star", (picture,)),)),
        ([], OTHER, (Turn(FIRST, "a red star", (picture,)), Turn(SECOND, "three circles", (third,)))),
        ([picture, other], FIRST, ()),
        ([other, picture], FIRST, ()),
    ]
    pipe.forget()
    try:
        pipe.remembered.budget = 2**30
        warm = [traced(pipe, *question) for question in asked]
        pipe.remembered.budget = 0
        cold = [traced(pipe, *question) for question in asked]
    finally:
        pipe.remembered.budget = budget
    for with_memory, without in zip(warm, cold, strict=True):
        same(with_memory.answer, without.answer)
        assert not without.known and "memory" not in without.details["encoder"]
        assert with_memory.read == without.read - with_memory.known
    for index in (1, 2, 3, 6, 7, 8):
        assert not warm[index].encoded and warm[index].details["encoder"].endswith("from memory")
        assert cold[index].encoded
    assert warm[0].encoded and warm[4].encoded and warm[5].encoded
    if pipe.stages().llm.family.sees_ahead or pipe.stages().llm.family.bridge_reads:
        assert not warm[1].known
        assert pipe.stages().llm.family.sees_ahead == ("always all of them" in warm[1].details["prefill"])
        return
    whole = range(len(warm[0].answer.prompt.ids))
    first, second, edited, again, changed = (trace.known for trace in warm[:5])
    assert first == 0 and edited == again
    assert edited in whole and edited > max(warm[0].answer.prompt.image_positions)
    assert second >= edited  # behind the first question too where its end is written alike in a history
    assert changed <= min(warm[0].answer.prompt.image_positions)
    assert warm[6].known > 0
