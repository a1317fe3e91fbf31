"""What every Engine does, whatever answers behind it: one suite, run over each of them.

A test class of an engine derives from `EngineConformance` and defines its fixture ``engine``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vlm_demo.contracts import LEVELS, Answer, MapRequest, Memory, Replay, StageEvent, TokenEvent, Turn, heatmap_methods
from vlm_demo.contracts.anatomy import TEMPERATURES
from vlm_demo.contracts.engine import Capabilities, Engine, Event, Request
from vlm_demo.errors import BadImage, BadQuestion, Stopped, UnsupportedModel, VlmDemoError

QUESTION = "What is in the picture?"
BEFORE = ("view", "prompt", "encoder", "bridge", "prefill")  # the stages before the first token


def picture(colour: str = "white", size: tuple[int, int] = (90, 60)) -> Image.Image:
    image = Image.new("RGB", size, colour)
    image.paste("red", (10, 10, 40, 40))
    return image


def make_request(**changes: object) -> Request:
    return replace(Request((picture(),), QUESTION, max_new_tokens=4), **changes)


def answered(engine: Engine, request: Request) -> tuple[list[Event], Answer]:
    *events, answer = engine.stream(request)
    assert isinstance(answer, Answer)
    return events, answer


class EngineConformance:
    """The promises of `contracts.engine.Engine`, for one that writes.

    ``before`` are the stages before the first token that it reports, and ``counts`` whether it reports their numbers.
    """

    before = BEFORE
    counts = True

    @pytest.fixture(scope="class")
    def given(self, engine: Engine) -> tuple[list[Event], Answer]:
        """The events of one question, and its answer."""
        return answered(engine, make_request())

    def test_it_says_what_it_is_and_what_it_can_do(self, engine: Engine) -> None:
        assert engine.name and engine.precision and engine.device
        assert engine.parameters is None or engine.parameters > 0
        able = engine.capabilities
        assert (
            isinstance(able, Capabilities)
            and able.writes
            and all(isinstance(capability, bool) for capability in vars(able).values())
        )

    def test_stages_come_in_order_then_tokens_then_the_answer(
        self, engine: Engine, given: tuple[list[Event], Answer]
    ) -> None:
        events, answer = given
        names = [event.name for event in events if isinstance(event, StageEvent)]
        assert names == [*self.before, "decode"]
        tokens = [event for event in events if isinstance(event, TokenEvent)]
        assert events == [*events[: len(self.before)], *tokens, events[-1]]
        assert "".join(event.token.text for event in tokens) == tokens[-1].text == answer.text
        assert tuple(event.token for event in tokens) == answer.written
        if engine.capabilities.logprobs:
            assert all(0 < token.probability <= 1 for token in answer.tokens)

    def test_a_second_request_is_opened_while_the_first_is_answered(
        self, engine: Engine, given: tuple[list[Event], Answer]
    ) -> None:
        first, second = engine.stream(make_request()), engine.stream(make_request())
        assert [next(first).name, next(first).name, next(second).name] == ["view", "prompt", "view"]
        assert [list(stream)[-1].tokens for stream in (first, second)] == [given[1].tokens] * 2

    def test_stage_events_are_numbers(self, given: tuple[list[Event], Answer]) -> None:
        facts = {event.name: event.facts for event in given[0] if isinstance(event, StageEvent)}
        answer = given[1]
        assert facts["view"].uploads == ((90, 60),)
        assert facts["decode"].tokens == len(answer.written) + answer.cut
        if not self.counts:
            return
        assert facts["prompt"].image_tokens == answer.prompt.image_tokens
        assert facts["prompt"].image_tokens + facts["prompt"].text_tokens == len(answer.prompt.ids)
        assert facts["encoder"].pictures == 1 and facts["encoder"].bytes > 0
        assert facts["prefill"].tokens == len(answer.prompt.ids)

    def test_an_answer_is_data(self, engine: Engine, given: tuple[list[Event], Answer]) -> None:
        answer = given[1]
        assert answer.model == engine.name and not answer.stopped
        assert answer.view.size == (90, 60) and answer.view.image.mode == "RGB"
        assert answer.view.boxes.shape == (answer.view.grid[0] * answer.view.grid[1], 4)
        assert not hasattr(answer.view, "pixel_values")  # tensors stay inside
        assert [segment.start for segment in answer.prompt.segments[1:]] == [
            segment.stop for segment in answer.prompt.segments[:-1]
        ]

    def test_the_history_goes_before(self, engine: Engine) -> None:
        turn = Turn("What is it?", "a square", (picture("blue", (50, 50)),))
        _, answer = answered(engine, make_request(images=(), history=(turn,)))
        assert [view.size for view in answer.views] == [(50, 50)]
        _, answer = answered(engine, make_request(history=(turn,)))
        assert [view.size for view in answer.views] == [(50, 50), (90, 60)]

    def test_what_cannot_be_asked_is_one_sentence(self, engine: Engine) -> None:
        with pytest.raises(BadQuestion):
            list(engine.stream(make_request(question=" \n")))
        with pytest.raises(BadImage):
            list(engine.stream(make_request(images=(b"no picture",))))

    def test_a_request_is_stopped_before_its_first_token_or_keeps_what_it_has(self, engine: Engine) -> None:
        with pytest.raises(Stopped):
            list(engine.stream(make_request(cancelled=lambda: True)))
        begun: list[Event] = []

        def enough() -> bool:
            return any(isinstance(event, TokenEvent) for event in begun)

        for event in engine.stream(make_request(cancelled=enough)):
            begun.append(event)
        assert isinstance(begun[-1], Answer) and begun[-1].stopped and len(begun[-1].written) == 1

    def test_closing_the_stream_frees_the_engine(self, engine: Engine) -> None:
        stream = engine.stream(make_request())
        next(stream)
        stream.close()
        assert answered(engine, make_request())[1].tokens

    def test_a_given_answer_is_explained(self, engine: Engine, given: tuple[list[Event], Answer]) -> None:
        if not engine.capabilities.explains:
            with pytest.raises(UnsupportedModel):
                engine.explain(make_request(), "a red square")
            return
        explained = engine.explain(make_request(), "a red square")
        assert explained.text.strip() == "a red square" and [word.text for word in explained.words] == [
            "a",
            "red",
            "square",
        ]
        heat = explained.heatmap("red")
        assert heat.shape == (60, 90) and heat.dtype == np.float32 and heat.min() >= 0 and heat.max() <= 1
        with pytest.raises(BadQuestion):
            engine.explain(make_request(), "  ")

    def test_methods_are_those_of_the_table_and_each_is_drawn_or_refused(
        self, engine: Engine, given: tuple[list[Event], Answer]
    ) -> None:
        if not engine.capabilities.explains:
            assert engine.heatmap_methods(given[1]) == {}
            with pytest.raises(VlmDemoError):
                engine.heatmap(given[1], MapRequest(0))
            return
        answer = engine.explain(make_request(), "a red square")
        offered = engine.heatmap_methods(answer)
        assert offered and set(offered) <= set(heatmap_methods.BY_NAME)
        for name in [name for name, missing in offered.items() if missing is None]:
            heat = engine.heatmap(answer, MapRequest(answer.words[1], method=name))
            assert heat.shape == (60, 90) and np.isfinite(heat).all() and heat.max() <= 1
        with pytest.raises(Stopped):
            engine.heatmap(answer, MapRequest(answer.words[1], method="occlusion"), cancelled=lambda: True)

    def test_an_answer_is_judged(self, engine: Engine, given: tuple[list[Event], Answer]) -> None:
        if not engine.capabilities.explains:
            with pytest.raises(VlmDemoError):
                engine.grounding(given[1])
            return
        answer = engine.explain(make_request(), "a red square")
        badge = engine.grounding(answer)
        assert badge.level in LEVELS and 0 <= badge.score <= 1 and badge.sentence
        with pytest.raises(Stopped):
            engine.grounding(answer, cancelled=lambda: True)

    def test_an_answer_has_an_anatomy_layer_by_layer(self, engine: Engine, given: tuple[list[Event], Answer]) -> None:
        answer = given[1]
        if not engine.capabilities.explains:
            with pytest.raises(UnsupportedModel):
                engine.anatomy(answer)
            return
        anatomy = engine.anatomy(answer)
        layers, count = anatomy.lens.ids.shape
        assert count == len(answer.tokens) and len(anatomy.lens.texts) == len(anatomy.lens.crossing) == layers
        for part in (anatomy.lens.probabilities, anatomy.lens.written, anatomy.image_shares):
            assert part is None or part.shape == (layers, count) and part.min() >= 0 and part.max() <= 1.0001
        assert anatomy.changes.shape == (layers, count) and anatomy.seconds > 0
        assert len(anatomy.before) == len(anatomy.after) == len(answer.views)
        for features in (*anatomy.before, *anatomy.after):
            assert features.values.dtype == np.float32 and features.norms.shape == features.values.shape[:1]
            assert features.grid in (None, answer.view.grid) and (
                not features.grid or len(features.values) == np.prod(features.grid)
            )
        found = anatomy.candidates
        assert found.ids.shape == found.logits.shape and (np.diff(found.logits, axis=1) <= 0).all()
        assert found.totals.shape == (count, len(TEMPERATURES))
        at_one = found.totals[:, TEMPERATURES.index(1.0)]
        assert (np.exp(found.logits - at_one[:, None]).sum(1) <= 1.0001).all()
        with pytest.raises(Stopped):
            engine.anatomy(answer, cancelled=lambda: True)

    def test_shrunk_pictures_are_put_back_for_the_model_that_saw_them(
        self, engine: Engine, given: tuple[list[Event], Answer]
    ) -> None:
        answer = given[1]
        small = replace(answer, views=(replace(answer.view, image=picture(size=(45, 30)), size=(45, 30)),))
        assert engine.with_pictures(small, (picture(),)).view.size == (90, 60)
        with pytest.raises(VlmDemoError, match="is in service now"):
            engine.with_pictures(replace(answer, model="another", replay=None), (picture(),))
        if engine.capabilities.explains:  # another's answer, which was read here when it was opened again
            reader = answer.replay.by if answer.replay else engine.name
            saved = replace(small, model="another", replay=Replay(reader, 1.0, ()))
            assert engine.with_pictures(saved, (picture(),)).view.size == (90, 60)

    def test_texts_are_scored_where_it_can(self, engine: Engine) -> None:
        if not engine.capabilities.scores:
            with pytest.raises(VlmDemoError):
                engine.score(picture(), ["a square"])
            return
        scores = engine.score(picture(), ["a red square", "a boat"])
        assert scores.texts == ("a red square", "a boat") and sum(scores.probabilities) == pytest.approx(1)

    def test_memory_is_measured_and_what_was_seen_forgotten(self, engine: Engine) -> None:
        assert isinstance(engine.memory(), Memory) and engine.memory().process_bytes > 0
        engine.forget()
        score = engine.in_distribution(answered(engine, make_request())[1].view)
        assert score is None or 0 <= score <= 1
