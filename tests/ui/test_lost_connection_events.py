"""A page that goes while its answer is written: what it finds when it comes back."""

from __future__ import annotations

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import ask, event, request, run
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.ui import layout
from vlm_demo.ui.tabs.chat.transcript import LOST

TAB = "0123456789abcdef" * 2


def begun(events, picture):
    """An answer of which a part is written."""
    events.arrived(event(tab=TAB), request())
    events.ask({"text": "Describe.", "files": [str(picture)]}, False, False, request())
    steps = events.answer(request())
    while not events.sessions.of("a").last.answer_text:
        next(steps)
    return steps


def test_an_answer_that_the_page_left_says_so_in_a_sentence(page, picture):
    events = page(FakeEngine(pause=0.05))
    steps = begun(events, picture)
    events.closed(request())
    list(steps)
    chat = events.arrived(event(tab=TAB), request("b"))["chat"]
    assert LOST in chat and "stopped" in chat
    assert [list(changes) for changes in events.follow(request("b"))] == [["live"]]


def test_one_that_is_asked_again_no_longer_says_it(page, picture):
    events = page(FakeEngine(pause=0.02))
    steps = begun(events, picture)
    steps.close()  # as Gradio does when nobody listens any more
    assert LOST in events.parts.conversation(events.sessions.of("a"))["chat"]
    assert LOST not in run(events, events.retry(False, False, request()))["chat"]


def test_what_a_person_stopped_was_not_lost(page, picture):
    events = page(FakeEngine(pause=0.02))
    steps = begun(events, picture)
    events.stop(request())
    list(steps)
    events.closed(request())
    assert LOST not in events.arrived(event(tab=TAB), request("b"))["chat"]


def test_a_page_that_came_back_early_follows_the_answer_to_its_end(page, picture):
    events = page(FakeEngine(pause=0.02))
    steps = begun(events, picture)
    assert "Describe." in events.arrived(event(tab=TAB), request("b"))["chat"]
    following = events.follow(request("b"))
    assert events.sessions.of("b").last.answer_text.split()[0] in next(following)["live"]
    list(steps)
    (end,) = list(following)[-1:]
    assert end["live"] == "" and LOST not in end["chat"] and "star" in end["chat"]


def test_a_page_that_came_back_gets_the_badge_and_the_checks_that_were_still_missing(page, picture):
    events = page()
    events.arrived(event(tab=TAB), request())
    run(events, ask(events, "Describe.", picture))
    events.closed(request())  # before either was measured
    assert "still looking" in events.arrived(event(tab=TAB), request("b"))["checks"]
    steps = {"follow": events.follow, "ground": events.deferred_maps.ground, "finish": events.checks.finish}
    functions = list(layout.build(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava"), []).fns.values())
    last, state = next(fn for fn in functions if fn.name == "arrived"), {}
    while last := next((fn for fn in functions if fn.trigger_after == last._id), None):
        for changes in steps[last.name](request("b")):
            state |= changes
    assert 'class="link badge weak"' in state["chat"] and "still looking" not in state["checks"]
