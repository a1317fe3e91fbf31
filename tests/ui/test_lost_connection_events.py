"""A page that goes while its answer is written: what it finds when it comes back."""

from __future__ import annotations

import threading

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import ask, event, request, run
from tests.kit.waiting import wait_until
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.ui import layout
from vlm_demo.ui.chat_turn import ChatTurn
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


def after_arrival(events, session: str = "b") -> dict:
    """What changes on a page that has arrived, by the steps that the layout lets follow."""
    deferred, inspector, checks = events.deferred_maps, events.inspector, events.checks
    handlers = (events.follow, events.answer, inspector.show_map, deferred.ground, checks.finish)
    steps = {handler.__name__: handler for handler in handlers}
    functions = list(layout.build(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava"), []).fns.values())
    last, state = next(fn for fn in functions if fn.name == "arrived"), {}
    while last := next((fn for fn in functions if fn.trigger_after == last._id), None):
        changes = steps[last.name](request(session))
        for change in [changes] if isinstance(changes, dict) else changes:
            state |= change
    return state


def test_a_page_that_came_back_gets_the_badge_and_the_checks_that_were_still_missing(page, picture):
    events = page()
    events.arrived(event(tab=TAB), request())
    run(events, ask(events, "Describe.", picture))
    events.closed(request())  # before either was measured
    assert "still looking" in events.arrived(event(tab=TAB), request("b"))["checks"]
    state = after_arrival(events)
    assert 'class="link badge weak"' in state["chat"] and "still looking" not in state["checks"]


def test_a_question_that_the_page_left_before_it_was_answered_is_answered(page, picture):
    events = page()
    events.arrived(event(tab=TAB), request())
    ask(events, "Describe.", picture)
    assert "Describe." in events.arrived(event(tab=TAB), request("b"))["chat"]
    state = after_arrival(events)
    assert events.sessions.of("b").last.state == "done" and state["live"] == "" and "star" in state["chat"]
    assert "<img" in state["heatmap"]
    assert list(events.answer(request("b")))  # the step of the page that was left comes late: nothing waits any more
    assert len(events.sessions.of("b").exchanges) == 1


def test_a_reload_while_a_picture_is_opened_finds_the_question(page, picture):
    events = page()
    events.arrived(event(tab=TAB), request())
    left = events.sessions.of("a")
    with left.lock:  # as the handler of a question does that opens a large picture
        closing = threading.Thread(target=events.closed, args=(request(),))
        closing.start()
        assert wait_until(left.closed.is_set)
        assert events.sessions.arrived("b", TAB) is left
        left.add(ChatTurn("Describe.", False, False, (picture.read_bytes(),), ("picture.png",), ("",)))
    closing.join()
    assert not left.closed.is_set() and left.last.state == "waiting"
    after_arrival(events)
    assert left.last.state == "done"
