"""Presses that follow one another faster than their replies: each is sent, and of the replies the newest counts."""

from __future__ import annotations

import re
from dataclasses import fields

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import ask, event, request, run
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.ui import layout
from vlm_demo.ui.tabs.compare import presets
from vlm_demo.ui.tabs.compare.compare_events import CompareEvents, CompareParts


def when_drawn(html: str) -> int:
    return int(re.search(r'data-drawn="(\d+)"', html)[1])


def test_no_event_with_data_is_put_off_since_gradio_would_send_the_first_one_s_again():
    dependencies = layout.build(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava"), []).fns.values()
    put_off = {fn.fn.__qualname__ for fn in dependencies if fn.trigger_mode == "always_last"}
    # What these take is the state of the page's fields, as it is then.
    assert put_off == {"Events.typed", "Events.read_in", "PageChoice.look", "PageChoice.choose"}
    on = {(target, event): fn.trigger_mode for fn in dependencies for target, event in fn.targets}
    modes = [mode for (_, event), mode in on.items() if event in ("word", "look", "redraw")]
    assert len(modes) == 5 and set(modes) == {"multiple"}


def test_a_map_says_when_it_was_drawn_and_is_drawn_again_for_an_older_reply_that_came_late(page, picture):
    events = page()
    run(events, ask(events, "Describe.", picture))
    older, newer = (events.inspector.press(event(turn=0, word=word), request())["heatmap"] for word in (1, 2))
    assert when_drawn(newer) > when_drawn(older)
    again = events.inspector.redraw(request())
    assert when_drawn(again["heatmap"]) > when_drawn(newer) and 'data-word="2"' in again["heatmap"]
    assert again["prompt"] == events.parts.answer_tabs(events.sessions.of("a"))["prompt"]


def test_of_presses_that_overtake_each_other_the_one_sent_last_counts(page, picture):
    events = page()
    run(events, ask(events, "Describe.", picture))
    events.inspector.press(event(turn=0, word=2, sent=20.5), request())
    late = events.inspector.press(event(turn=0, word=1, sent=20.0), request())
    assert 'data-word="2"' in late["heatmap"] and events.sessions.of("a").word == 2
    events.inspector.press(event(turn=0, word=0, sent=21.0), request())
    assert events.sessions.of("a").word == 0
    options = events.sessions.of("a").map_options
    for look in (event(opacity=20, sent=2.0), event(opacity=40, sent=1.0), event(grid=True, sent=1.5)):
        events.inspector.look(look, request())
    assert (options.opacity, options.grid) == (0.2, True)
    chosen = event(colormap="viridis", sent=6.0), event(method="mean", sent=7.0), event(head=[0, 1], sent=8.0)
    late = event(colormap="magma", sent=5.0), event(method="last", sent=6.5), event(head=[1, 0], sent=7.5)
    for choice in (*chosen, *late):
        events.inspector.choose(choice, request())
    assert (options.colormap, options.method, options.head) == ("viridis", "mean", (0, 1))


def test_presses_after_a_reload_count_though_the_clock_was_set_back(page, picture):
    events = page()
    events.arrived(event(tab="0" * 32), request())
    run(events, ask(events, "Describe.", picture))
    events.inspector.press(event(turn=0, word=2, sent=20.0), request())
    events.closed(request())
    events.arrived(event(tab="0" * 32), request("b"))
    events.inspector.press(event(turn=0, word=1, sent=10.0), request("b"))
    assert events.sessions.of("b").word == 1


def test_a_comparison_says_it_too(page, picture, monkeypatch):
    monkeypatch.setattr(presets.local, "ocr_missing", lambda settings: None)
    events = page()
    run(events, ask(events, "Describe.", picture))
    tab = CompareEvents(events, events.service, CompareParts(**{part.name: part.name for part in fields(CompareParts)}))
    tab.ask("Describe.", request())
    list(tab.compare(request()))
    older, newer = (tab.look(event(word=[0, word]), request())["table"] for word in (1, 2))
    again = tab.redraw(request())["table"]
    assert when_drawn(older) < when_drawn(newer) < when_drawn(again) and "<b>purple</b>" in again
    for word, sent in ((1, 8.0), (2, 7.0)):
        tab.look(event(word=[0, word], sent=sent), request())
    assert tab.state(events.sessions.of("a")).comparison.word == (0, 1)


def test_opacity_and_grid_are_changed_one_at_a_time(page):
    events = page()
    options = events.sessions.of("a").map_options
    events.inspector.look(event(grid=True), request())
    events.inspector.look(event(opacity=20), request())
    assert (options.opacity, options.grid) == (0.2, True)


def test_what_computes_is_started_while_an_earlier_one_still_ends():
    """Gradio drops an event that may run once, while it runs: what was left for it would wait for ever."""
    dependencies = layout.build(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava"), []).fns.values()
    once = {fn.fn.__qualname__ for fn in dependencies if fn.queue and fn.trigger_after and fn.trigger_mode == "once"}
    assert once == {"LearnEvents.work"}  # the page polls for it
