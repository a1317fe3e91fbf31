"""Asking the model again: only on demand, in its queue, stoppable; and every answer gets its badge."""

from __future__ import annotations

import pytest
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import ask, event, request, run
from vlm_demo.errors import VlmDemoError
from vlm_demo.ui.tabs.inspect.panels.heatmap_panel import shown_map


def answered(page, picture, pipe=None):
    events = page(pipe or FakeEngine())
    run(events, ask(events, "Describe.", picture))
    return events, events.sessions.of("a")


def slow(events) -> str:
    return events.inspector.choose(event(method="occlusion"), request())["heatmap"]


def test_a_slow_map_is_computed_on_demand_and_kept(page, picture):
    events, session = answered(page, picture)
    drawn = slow(events)
    assert 'data-act="compute"' in drawn and 'data-act="export"' not in drawn and shown_map(session, 0) is None
    waiting = events.deferred_maps.compute(request())["heatmap"]
    assert "Waiting" in waiting and 'data-act="halt"' in waiting
    during, after = (changes["heatmap"] for changes in events.deferred_maps.work(request()))
    assert "Computing: Occlusion" in during and 'data-act="compute"' not in after and 'data-act="export"' in after
    word = session.shown.answer.words[session.word]
    assert (shown_map(session, 0) == session.shown.answer.heatmap(word, method="occlusion")).all()
    events.inspector.step(event(by=1), request())
    assert shown_map(session, 0) is None  # another word is another map
    assert 'data-act="compute"' not in events.inspector.step(event(by=-1), request())["heatmap"]


def test_the_model_reads_the_pictures_as_they_were_uploaded(page, tmp_path):
    sizes = []

    class Watched(FakeEngine):
        def heatmap(self, answer, *arguments, **options):
            sizes.append(answer.view.size)
            return super().heatmap(answer, *arguments, **options)

    path = tmp_path / "large.png"
    Image.new("RGB", (2000, 1000), "white").save(path)
    events, session = answered(page, path, Watched())
    slow(events)
    events.deferred_maps.compute(request())
    list(events.deferred_maps.work(request()))
    assert sizes == [(2000, 1000)]
    assert shown_map(session, 0).shape[::-1] == session.shown.answer.view.size == (1040, 520)


def test_stop_ends_the_computing_and_frees_the_model(page, picture):
    class Stopping(FakeEngine):
        def heatmap(self, *arguments, **options):
            events.deferred_maps.halt(request())  # pressed while the map is being computed
            return super().heatmap(*arguments, **options)

    events, session = answered(page, picture, Stopping())
    slow(events)
    events.deferred_maps.compute(request())
    *_, last = events.deferred_maps.work(request())
    assert session.job is None and shown_map(session, 0) is None and 'data-act="compute"' in last["heatmap"]
    with events.service.engine() as engine, engine.scheduler.turn(cancelled=lambda: True):  # nothing to wait for
        pass


def test_a_new_question_stops_it(page, picture):
    events, session = answered(page, picture)
    slow(events)
    events.deferred_maps.compute(request())
    job = session.job
    ask(events, "And now?")
    assert job.stop.is_set() and session.job is None


@pytest.mark.parametrize("error", [VlmDemoError("There is <b>no</b> room."), RuntimeError("private")])
def test_what_fails_is_one_sentence_where_the_map_would_be(page, picture, error):
    class Broken(FakeEngine):
        def heatmap(self, *_, **__):
            raise error

    events, _ = answered(page, picture, Broken())
    slow(events)
    events.deferred_maps.compute(request())
    *_, last = events.deferred_maps.work(request())
    html = last["heatmap"]
    assert 'role="alert"' in html and "<b>no" not in html and "private" not in html
    assert 'data-act="compute"' in html  # to try once more
    assert "Waiting" in events.deferred_maps.compute(request())["heatmap"]


def test_another_model_in_service_is_told(page, picture):
    events, session = answered(page, picture)
    slow(events)
    with events.service.engine() as pipe:
        pipe.name = "blip2"
    events.deferred_maps.compute(request())
    *_, last = events.deferred_maps.work(request())
    assert "llava wrote this answer, and blip2 is in service now" in last["heatmap"]


def test_methods_that_the_answer_cannot_have_are_not_offered(page, picture):
    events, session = answered(page, picture)
    drawn = events.inspector.show_map(request())["heatmap"]
    assert 'value="occlusion"' in drawn and 'value="queries"' not in drawn
    assert drawn.index("Localised heads · 95%") < drawn.index("Last layer · 38%")
    session.map_options.method = "queries"  # chosen for another answer
    assert shown_map(session, 0) is not None


def test_every_answer_gets_its_badge_with_its_reason(page, picture):
    events, _ = answered(page, picture)
    (changes,) = events.deferred_maps.ground(request())
    assert 'class="link badge weak"' in changes["chat"] and "&lt;what it looked at&gt;" in changes["chat"]
    assert "&lt;what it looked at&gt;" in changes["heatmap"] and "<what" not in changes["heatmap"]
    assert "chat" not in next(events.deferred_maps.ground(request()))  # judged once


def test_a_new_question_comes_before_the_badge_which_is_made_up_for(page, picture):
    events, session = answered(page, picture)
    waiting = ask(events, "And now?")
    list(events.deferred_maps.ground(request()))
    assert not session.exchanges[0].judged
    run(events, waiting)
    list(events.deferred_maps.ground(request()))
    assert [exchange.grounding.level for exchange in session.exchanges] == ["weak", "weak"]


def test_an_answer_that_cannot_be_judged_has_no_badge_and_no_complaint(page, picture):
    class Silent(FakeEngine):
        def grounding(self, *_, **__):
            raise VlmDemoError("No attention was recorded.")

    events, session = answered(page, picture, Silent())
    (changes,) = events.deferred_maps.ground(request())
    assert "badge" not in changes["chat"] and session.exchanges[0].judged
