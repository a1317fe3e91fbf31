"""The Learn tab while other things go on: a word is pressed, an attempt has failed, others are served first."""

from __future__ import annotations

from html import unescape

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import ask, event, request, run
from tests.ui.test_learn_tab import opened, tab
from vlm_demo.engines.registry import UNEXPECTED


def test_a_word_that_is_pressed_meanwhile_changes_neither_the_map_nor_its_name(page, picture) -> None:
    class Pressed(FakeEngine):
        def anatomy(self, *arguments, **named):
            events.inspector.press(event(turn=0, word=3), request())
            return super().anatomy(*arguments, **named)

    events = page(Pressed())
    run(events, ask(events, "What is it?", picture))
    learn, shown = tab(events), events.sessions.of("a").shown
    events.inspector.press(event(turn=0, word=1), request())
    state = opened(learn)
    assert "The map of “large”" in unescape(state["stage_boxes"])
    (heat,) = learn._state(shown).summary.heat
    assert (heat == shown.answer.heatmap(shown.answer.words[1])).all()


def test_an_answer_with_fewer_words_that_is_shown_meanwhile_is_no_failure(page, picture) -> None:
    class Switched(FakeEngine):
        def anatomy(self, *arguments, **named):
            events.inspector.press(event(turn=0, word=8), request())
            return super().anatomy(*arguments, **named)

    events = page(engine := Switched())
    run(events, ask(events, "What is it?", picture))
    engine.answer = "a star"
    run(events, ask(events, "And now?"))
    second = events.sessions.of("a").shown
    learn = tab(events)
    opened(learn)
    assert learn._state(second).summary and not learn._state(second).problem


def test_what_failed_is_tried_again_when_the_tab_is_opened_again(page, picture, monkeypatch) -> None:
    def fail(*_, **__):
        raise RuntimeError("secret")

    events = page()
    run(events, ask(events, "What is it?", picture))
    learn = tab(events)
    with monkeypatch.context() as broken:
        broken.setattr(FakeEngine, "anatomy", fail)
        assert UNEXPECTED in unescape(opened(learn)["lens"])
    assert "data-lens" in opened(learn)["lens"]
