"""Tokens become an answer whatever gives them; and whoever stops listening ends what gives them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vlm_demo import Pipeline
from vlm_demo.contracts import Prompt, StageEvent, TokenEvent
from vlm_demo.errors import Stopped
from vlm_demo.pipeline.decoding import Generation, Written, decode
from vlm_demo.pipeline.inputs import result_of
from vlm_demo.runtime.stage_clock import StageClock
from vlm_demo.stages.choosing import Step

PROMPT = Prompt("What?", (1, 2, 3), 0, (), ())


class Scripted:
    """Writes these texts' tokens, then raises ``ends`` if there is one; knows whether it was closed."""

    def __init__(self, pipe: Pipeline, text: str, ends: Exception | None = None) -> None:
        self.tokenizer, self.ends = pipe.tokenizer, ends
        self.ids = pipe.tokenizer.encode(text, add_special_tokens=False)
        self.closed, self.limit = False, len(self.ids) + 1

    def generation(self) -> Generation:
        try:
            for token in self.ids:
                yield Step(token, 0.5, None)
            if self.ends:
                raise self.ends
            return None
        finally:
            self.closed = True

    def events(self, *stop: str) -> Iterator[object]:
        return decode(
            self.generation(),
            PROMPT,
            self.tokenizer,
            StageClock(),
            limit=self.limit,
            sees_ahead=False,
            stop=stop,
            cuts_repetition=True,
        )

    def written(self, *stop: str) -> Written:
        return result_of(self.events(*stop))


def test_the_events_are_prefill_tokens_and_decode(pipe: Pipeline) -> None:
    events = list(Scripted(pipe, "a red star").events())
    assert [event.name for event in events if isinstance(event, StageEvent)] == ["prefill", "decode"]
    tokens = [event for event in events if isinstance(event, TokenEvent)]
    assert events[1:-1] == tokens and tokens[-1].text == "a red star" and events[0].facts.tokens == 3


def test_an_answer_is_full_when_no_more_tokens_were_allowed(pipe: Pipeline) -> None:
    whole = Scripted(pipe, "a red star")
    assert not whole.written().full
    whole.limit = len(whole.ids)
    assert whole.written().full and not whole.written("star").full


def test_each_token_that_is_kept_has_its_row(pipe: Pipeline) -> None:
    written = Scripted(pipe, "a red star, and more").written(",")
    assert written.text == "a red star" and len(written.rows) == len(written.tokens) and not written.stopped
    looping = Scripted(pipe, "yes." + " no" * 90).written()
    assert looping.cut > 0 and len(looping.rows) == len(looping.tokens)


def test_what_was_written_before_a_stop_stays(pipe: Pipeline) -> None:
    written = Scripted(pipe, "a red", Stopped("Stopped.")).written()
    assert written.stopped and written.text == "a red"
    with pytest.raises(Stopped):
        Scripted(pipe, "", Stopped("Stopped.")).written()


@pytest.mark.parametrize("received", [1, 2])
def test_closing_the_events_closes_the_generation(pipe: Pipeline, received: int) -> None:
    script = Scripted(pipe, "a red star")
    events = script.events()
    for _ in range(received):
        next(events)
    assert not script.closed
    events.close()
    assert script.closed
