"""The Learn tab while other things go on: a word is pressed, an attempt has failed, others are served first."""

from __future__ import annotations

from html import unescape

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import ask, event, request, run
from tests.ui.test_learn_tab import opened, tab
from vlm_demo.engines.registry import UNEXPECTED, ModelRegistry
from vlm_demo.ui import layout
from vlm_demo.ui.tabs.learn import lens_panel

TAB = "0123456789abcdef" * 2


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


def test_the_page_says_whether_it_waits_or_the_answer_is_read(page, picture) -> None:
    events = page()
    run(events, ask(events, "What is it?", picture))
    learn = tab(events)
    assert lens_panel.WAITING in learn.open(request())["lens"]
    first, _ = learn.work(request())
    assert lens_panel.READING in first["lens"] and "data-waiting" in first["lens"]


def test_losses_that_wait_say_so_and_are_asked_for_once(page, picture) -> None:
    events = page()
    run(events, ask(events, "What is it?", picture))
    learn = tab(events)
    opened(learn)
    waits = str(learn.ask(event(text="a cat"), request())["losses"])
    assert lens_panel.WAITING in waits and "disabled" in waits and 'value="a cat"' in waits
    assert "value" not in learn.ask(event(text="a dog"), request())["losses"]  # skipped
    assert lens_panel.WAITING in str(learn.open(request())["losses"])
    done = [str(changes["losses"]) for changes in learn.compute(request())][-1]
    assert 'value="a cat"' in done and lens_panel.WAITING not in done
    (again,) = learn.compute(request())
    assert "value" not in again["losses"]


def test_losses_that_waited_for_a_page_that_has_gone_can_be_asked_for_again(page, picture) -> None:
    events = page()
    events.arrived(event(tab=TAB), request())
    run(events, ask(events, "What is it?", picture))
    learn = tab(events)
    learn.ask(event(text="a cat"), request())
    events.closed(request())
    events.arrived(event(tab=TAB), request())
    assert lens_panel.WAITING not in str(learn.open(request())["losses"])
    assert lens_panel.WAITING in str(learn.ask(event(text="a cat"), request())["losses"])


def test_a_page_that_polls_has_one_place_in_the_queue() -> None:
    dependencies = layout.build(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava"), []).fns.values()
    modes = {fn.name: fn.trigger_mode for fn in dependencies if fn.concurrency_id == "learn"}
    assert modes == {"work": "once", "compute": "multiple"}


def test_losses_of_an_answer_that_is_shown_no_longer_are_not_drawn(page, picture) -> None:
    events = page()
    run(events, ask(events, "What is it?", picture))
    learn = tab(events)
    learn.ask(event(text="a cat"), request())
    steps = learn.compute(request())
    assert 'value="a cat"' in str(next(steps)["losses"])
    run(events, ask(events, "And now?"))
    assert 'value="a cat"' not in str(learn.open(request())["losses"])
    assert not [changes for changes in steps if "a cat" in str(changes["losses"])]
    first = events.inspector.press(event(turn=0, word=0), request())
    assert first and 'value="a cat"' in str(learn.open(request())["losses"])
